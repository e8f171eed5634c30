"""What the report says first: a conclusion in three sentences, a recommendation, and what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from duetime.checker import VIOLATIONS
from duetime.checker.explain import FIXES

Cell = Mapping[str, Any]
HARMLESS = ("duplicate", "will_repeat")
"""A gateway that checks an idempotency key makes these harmless; nothing makes a loss harmless."""
OUTCOMES = ("not applicable", "pass", "unknown", "fail")


@dataclass(frozen=True, slots=True)
class Opening:
    """best, worst, proof: one sentence each. worst_cell: the cell that `worst` is about, and that the page opens on."""

    best: str
    worst: str
    proof: str
    recommendation: str
    worst_cell: Cell


@dataclass(frozen=True, slots=True)
class Advice:
    """One change, and the cells (scenario, design) that need it."""

    label: str
    fix: str
    cells: Sequence[tuple[str, str]]


def opening(cells: Sequence[Cell]) -> Opening:
    """The conclusion from at least one cell."""
    judged = _comparable([cell for cell in cells if cell["outcome"] in ("pass", "fail")])
    worst_cell = max(cells, key=lambda cell: (severity(cell), -cells.index(cell)))
    best, recommendation = _best(judged)
    return Opening(best, _worst(worst_cell), _proof(cells), recommendation, worst_cell)


def severity(cell: Cell) -> tuple[int, ...]:
    """How bad a cell is: a broken guarantee first, then the verdict, then losses, then the other violations."""
    counts = Counter({label: cell["counts"].get(label, 0) for label in VIOLATIONS})
    harmless = sum(counts[label] for label in HARMLESS)
    others = counts.total() - harmless - counts["missed"]
    return (
        cell["within_guarantees"] is False, OUTCOMES.index(cell["outcome"]), counts["missed"], others, harmless,
    )  # fmt: skip


def in_words(cell: Cell) -> str:
    """The violations of a cell: "45 missed, 9 duplicate"; empty if there are none."""
    return _listed(cell["counts"])


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[label]} {label.replace('_', ' ')}" for label in VIOLATIONS if counts.get(label))


def advice(cells: Sequence[Cell]) -> list[Advice]:
    """What to change, the most frequent first."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for cell in cells:
        for label in VIOLATIONS:
            if cell["outcome"] == "fail" and cell["counts"].get(label):
                found.setdefault(label, {})[cell["scenario"], cell["design"]] = None
    return [
        Advice(label, FIXES[label].removeprefix("Fix: ").capitalize(), tuple(where))
        for label, where in sorted(found.items(), key=lambda item: -len(item[1]))
    ]


def _comparable(judged: Sequence[Cell]) -> list[Cell]:
    """The runs of the scenarios in which every judged design has one: a design is not better for an easier scenario."""
    designs = {cell["design"] for cell in judged}
    ran: dict[str, set[str]] = {}
    for cell in judged:
        ran.setdefault(cell["scenario"], set()).add(cell["design"])
    return [cell for cell in judged if ran[cell["scenario"]] == designs]


def _ranks(judged: Sequence[Cell]) -> dict[str, tuple[float, ...]]:
    """By design, less is better: runs with a broken guarantee, with a loss, with any violation; all violations."""
    ranks: dict[str, tuple[float, ...]] = {}
    for design in dict.fromkeys(cell["design"] for cell in judged):
        own = [cell for cell in judged if cell["design"] == design]
        broken = sum(cell["within_guarantees"] is False for cell in own) / len(own)
        harmed, failed = sum(map(_harms, own)) / len(own), sum(map(_failed, own)) / len(own)
        ranks[design] = (broken, harmed, failed, _violations(own).total() / len(own))
    return ranks


def _failed(cell: Cell) -> bool:
    return bool(cell["outcome"] == "fail")


def _violations(cells: Sequence[Cell]) -> Counter[str]:
    return Counter({label: sum(cell["counts"].get(label, 0) for cell in cells) for label in VIOLATIONS})


def _harms(cell: Cell) -> bool:
    return any(cell["counts"].get(label) for label in VIOLATIONS if label not in HARMLESS)


def _best(judged: Sequence[Cell]) -> tuple[str, str]:
    """The sentence about the best designs, and the recommendation."""
    if not judged:
        return (
            "There is no scenario in which every design was judged.",
            "Read why runs are unknown or missing, and repeat them: until then no design is better than another.",
        )
    ranks = _ranks(judged)
    best = [design for design in ranks if ranks[design] == min(ranks.values())]
    own = [cell for cell in judged if cell["design"] in best]
    failed = [cell for cell in own if _failed(cell)]
    passed = f"passed {len(own) - len(failed)} of {_count(len(own), 'run')}"
    if failed:
        counts = _violations(own)
        nothing = "" if counts["missed"] else "missed nothing and "
        others = "the other" if len(failed) == 1 else "the others"
        sentence = f"{joined(best)} {nothing}{passed}; {others} had {_listed(counts)}."
    else:
        sentence = f"{joined(best)} {passed}."
    return sentence, _recommendation(judged, best, failed)


def _recommendation(judged: Sequence[Cell], best: Sequence[str], failed: Sequence[Cell]) -> str:
    """failed: the failed runs of the `best` designs."""
    if not any(map(_failed, judged)):
        return "Inject a fault that you expect in production: these runs do not tell the designs apart."
    if not failed:
        return f"Choose {joined(best, 'or')}."
    counts = max(failed, key=severity)["counts"]
    fix = FIXES[next(label for label in VIOLATIONS if counts.get(label))].removeprefix("Fix: ")
    if len(best) == len({cell["design"] for cell in judged}):
        return fix.capitalize()
    if any(map(_harms, failed)):
        return f"None is ready as it is. {joined(best)} {'fails' if len(best) == 1 else 'fail'} least; {fix}"
    return f"Choose {joined(best, 'or')}, and {fix}"


def _worst(cell: Cell) -> str:
    name = f"{cell['design']} in {cell['scenario']}"
    if cell["outcome"] == "fail":
        broken = ", and that breaks its guarantee" if cell["within_guarantees"] is False else ""
        return f"The worst run is {name}: {in_words(cell)}{broken}."
    return "No run had a violation." if cell["outcome"] == "pass" else f"{name} is {cell['outcome']}."


def _proof(cells: Sequence[Cell]) -> str:
    outcomes = Counter(cell["outcome"] for cell in cells)
    broken = list(dict.fromkeys(cell["design"] for cell in cells if cell["within_guarantees"] is False))
    unknown = outcomes["unknown"]
    if unknown:
        verbs = ("is", "proves") if unknown == 1 else ("are", "prove")
        return f"Of {len(cells)} runs, {unknown} {verbs[0]} unknown and {verbs[1]} nothing."
    if broken:
        return f"{joined(broken)} {'breaks its' if len(broken) == 1 else 'break their'} own guarantee."
    if outcomes["fail"]:
        return "Each violation is one that the design's own guarantees allow: the designs fail as documented."
    return "A pass proves nothing about a fault that was not injected."


def joined(names: Sequence[str], word: str = "and") -> str:
    """ "a, b and c"; of more than four, three and the number of the others."""
    names = [*names[:3], f"{len(names) - 3} others"] if len(names) > 4 else list(names)
    return f" {word} ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
