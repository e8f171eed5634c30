"""The generated part of docs/league.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from duetime.interface import Guarantees
from duetime.league.about import About
from duetime.league.claims import Claim, verdict
from duetime.league.facts import Facts
from duetime.league.matrix import Judged
from duetime.league.needs import NEEDS, Answer, answer
from duetime.league.objections import Objection
from duetime.league.scenarios import LEFT_OUT
from duetime.league.speeds import Speeds
from duetime.league.tables import by_name, conditions, mechanisms, not_judged, row_name, tables, wrapped
from duetime.league.why import Explanations

DELIVERY = {
    "at_least_once": "at least once",
    "at_most_once": "at most once",
    "once_without_faults": "once, without faults",
    "nothing": "nothing",
    "unstated": "unstated",
}


def document(judged: Judged, explanations: Explanations, about: About) -> str:
    """Return everything between the markers, as Markdown."""
    judged = sorted(judged, key=lambda item: by_name(item[0]))
    reasons: dict[str, int] = {}
    verdicts = "\n".join(tables(judged, explanations, reasons))
    return "\n".join(
        [
            conditions(judged),
            *(wrapped(f"- {name} did not run: {missing}.", hanging="  ") for name, missing in about.absent.items()),
            "## Five needs\n",
            *_needs([answer(need, judged, about.facts) for need in NEEDS]),
            "\n## What each is\n",
            *_facts(judged, about.facts),
            *_speeds(about.speeds),
            "\n## What each does under faults\n",
            verdicts,
            *_left_out(judged),
            "## Why they fail\n",
            *mechanisms(explanations),
            *_unexplained(explanations),
            *_claims(about.claims, judged),
            *_objections(about.objections),
            "\n## Not applicable, and unknown\n",
            *not_judged(judged, reasons),
            "",
        ]
    )


def _needs(answers: Sequence[Answer]) -> Iterator[str]:
    for one in answers:
        clean = ", ".join(map(row_name, one.clean)) or "none"
        failing = ", ".join(f"{row_name(name)} {bad}/{of}" for name, (bad, of) in one.failing.items()) or "none"
        unshown = "; ".join(f"{row_name(name)} in {', '.join(found)}" for name, found in one.unshown.items())
        text = (
            f"- **{one.need.title}**: {one.need.description}. In every judged run: {clean}. Not in all runs: {failing}."
        )
        yield wrapped(f"{text} Not shown: {unshown}." if unshown else text, hanging="  ")


def _left_out(judged: Judged) -> Iterator[str]:
    present = {place.scenario.name for place, _ in judged}
    missing = [f"`{name}` ({why})" for name, why in LEFT_OUT.items() if name not in present]
    if missing:
        yield wrapped(f"Left out, and to be had with `--scenarios`: {'; '.join(missing)}.") + "\n"


def _facts(judged: Judged, facts: Mapping[str, Facts]) -> Iterator[str]:
    columns = (
        "", "library", "store", "workers", "called from", "delivers", "in the transaction", "cancel", "another time",
        "unique key",
        "back after a kill",
    )  # fmt: skip
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for design in dict.fromkeys(place.design.name for place, _ in judged):
        place = next(place for place, _ in judged if place.design.name == design)
        known, stated = facts[design], place.design.guarantees
        yield "| " + " | ".join(
            [row_name(design), f"[{known.title}]({known.home})", known.store, known.worker, known.callers,
             DELIVERY[stated.delivery], "yes" if stated.transactional else "no", cancel_of(stated), known.reschedule,
             known.unique_key, back_after(stated)]
        ) + " |"  # fmt: skip


def _speeds(speeds: Speeds | None) -> Iterator[str]:
    if not speeds:
        return
    yield "\n## How fast each is\n"
    yield wrapped(f"{speeds.conditions}. The tuned form of each, in rounds; every delivery is an HTTP request.")
    yield f"\n|  | {' | '.join(speeds.columns)} |"
    yield "|---" * (len(speeds.columns) + 1) + "|"
    for design in speeds.designs():
        yield f"| {row_name(design)} | {' | '.join(speeds.texts(design))} |"
    best = "; ".join(f"{column}: {', '.join(map(row_name, speeds.best(column)))}" for column in speeds.columns)
    yield "\n" + wrapped(f"Best in each column: {best}.")


def cancel_of(stated: Guarantees) -> str:
    """What a cancel is worth, in two words."""
    if not stated.has_cancel:
        return "none"
    return "always holds" if stated.cancels else "not under faults"


def back_after(stated: Guarantees) -> str:
    """Within what time what a dead worker held is delivered, as its documentation has it."""
    if stated.recovers_within_s:
        return f"{stated.recovers_within_s:g} s"
    return "in seconds" if stated.delivery == "at_least_once" else "not stated"


def _unexplained(explanations: Explanations) -> Iterator[str]:
    if explanations.unexplained:
        yield "\n### Not explained yet\n"
        yield wrapped(
            "These failing runs have a kind of violation for which no mechanism is known here. Where it is a single "
            "run that was late, a busy machine may be the reason."
        )
        yield ""
    cells: dict[tuple[str, str], list[str]] = {}
    for run, kind in explanations.unexplained:
        place, _, seed = run.partition(", seed ")
        cells.setdefault((place, kind), []).append(seed)
    for (place, kind), seeds in cells.items():
        yield wrapped(f"- `{place}`: {kind}, seed {', '.join(seeds)}", hanging="  ")


def _claims(claims: Sequence[Claim], judged: Judged) -> Iterator[str]:
    if claims:
        yield "\n## What they say of themselves\n"
        yield "| library | its sentence | in these runs |"
        yield "|---|---|---|"
    for claim in claims:
        yield f"| {claim.entrant} | [“{claim.says}”]({claim.source}) | {verdict(claim, judged)} |"


def _objections(objections: Sequence[Objection]) -> Iterator[str]:
    if objections:
        yield "\n## What their maintainers may object to\n"
    for one in objections:
        yield wrapped(f"- {one.entrant}: [{one.title}]({one.page})", hanging="  ")
