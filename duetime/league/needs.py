"""What a reader should conclude for some usual needs: who answers it, and whose runs showed what it forbids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from duetime.harness.runs.applicability import too_short_for_recovery
from duetime.interface import Guarantees
from duetime.league.facts import Facts
from duetime.league.matrix import Judged, Place
from duetime.league.why import kinds
from duetime.report.contender_mechanisms import PARTS_OF_MISSED

MISSED = ("missed", *PARTS_OF_MISSED)
TWICE = ("duplicate", "will_repeat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A usual need.

    title: its name. description: what an entrant does that meets it. answers: whether an entrant is built for it.
    forbids: the kinds of violations that must not occur. scenarios: patterns of those in which it counts.
    """

    title: str
    description: str
    answers: Callable[[Facts, Guarantees], bool]
    forbids: Sequence[str]
    scenarios: Sequence[str] = ("*",)


NEEDS: Sequence[Need] = (
    Need(
        title="transactional, with PostgreSQL",
        description="schedules in the caller's transaction, keeps jobs in PostgreSQL, and misses nothing",
        answers=lambda facts, guarantees: facts.store == "PostgreSQL" and guarantees.transactional,
        forbids=MISSED,
    ),
    Need(
        title="Redis alone",
        description="keeps jobs in Redis, and misses nothing while Redis keeps what it acknowledged",
        answers=lambda facts, _: facts.store == "Redis",
        forbids=MISSED,
        # Not those in which Redis itself forgets, or the caller dies between commit and publication.
        scenarios=("calm", "more_servers", "downtime", "crash*", "*deploy*", "pause", "backlog", "*_aof", "*_blip_*"),
    ),
    Need(
        title="no duplicates tolerated",
        description="delivers nothing twice, whatever fails",
        answers=lambda _, __: True,
        forbids=TWICE,
    ),
    Need(
        title="thousands at one instant",
        description="delivers a burst on time",
        answers=lambda _, __: True,
        forbids=(*MISSED, "late"),
        scenarios=("burst", "far_flood"),
    ),
    Need(
        title="many languages",
        description="can be called from more than one language, and misses nothing",
        answers=lambda facts, _: "any" in facts.callers.split() or "," in facts.callers,
        forbids=MISSED,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Who answers a need.

    clean: no judged run showed what it forbids. failing: how many of how many judged runs did. unshown: no run failed,
    but none could be judged in these scenarios, mostly because they end before the design recovers, or were not run.
    """

    need: Need
    clean: Sequence[str]
    failing: Mapping[str, tuple[int, int]]
    unshown: Mapping[str, Sequence[str]]


def answer(need: Need, judged: Judged, facts: Mapping[str, Facts]) -> Answer:
    """Count the runs of each design that answers `need`. facts: by design."""
    found: dict[str, dict[str, list[bool]]] = {}
    unshown: dict[str, dict[str, None]] = {}
    present: dict[str, dict[str, None]] = {}
    for place, _ in judged:
        present.setdefault(place.scenario.name, {})[place.design.name] = None
    for place, cell in judged:
        name, scenario = place.design.name, place.scenario.name
        if not _counts(need, place, facts[name]):
            continue
        if cell.outcome in ("pass", "fail"):
            failed = not kinds(cell).keys().isdisjoint(need.forbids)
            found.setdefault(name, {}).setdefault(scenario, []).append(failed)
        elif cell.outcome == "unknown" or any(too_short_for_recovery(place.scenario.plan(place.seed), place.design)):
            unshown.setdefault(name, {})[scenario] = None
    for scenario, ran in present.items():
        if any(fnmatchcase(scenario, pattern) for pattern in need.scenarios):
            for name in found.keys() - ran.keys():
                unshown.setdefault(name, {})[scenario] = None
    runs = {name: [each for several in found[name].values() for each in several] for name in found}
    missing = {name: [each for each in unshown.get(name, ()) if each not in found[name]] for name in found}
    return Answer(
        need=need,
        clean=[name for name in found if not any(runs[name]) and not missing[name]],
        failing={name: (sum(runs[name]), len(runs[name])) for name in found if any(runs[name])},
        unshown={name: missing[name] for name in found if not any(runs[name]) and missing[name]},
    )


def _counts(need: Need, place: Place, facts: Facts) -> bool:
    return need.answers(facts, place.design.guarantees) and any(
        fnmatchcase(place.scenario.name, pattern) for pattern in need.scenarios
    )
