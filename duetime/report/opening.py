"""What the report says first: a conclusion in three sentences, a recommendation, and what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from duetime.checker import VIOLATIONS
from duetime.checker.explain import FIXES
from duetime.report.conclusions import Cell, Failure, cause_of, failures, joined, violations_of
from duetime.report.mechanism import Mechanism

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


@dataclass(slots=True)
class Advice:
    """One change. mechanism: None for a design of somebody else. where: by design, what failed in which scenarios."""

    fix: str
    cause: str
    mechanism: Mechanism | None
    where: dict[str, str]
    severity: tuple[int, ...]


def opening(cells: Sequence[Cell]) -> Opening:
    """The conclusion from at least one cell."""
    judged = _comparable([cell for cell in cells if cell["outcome"] in ("pass", "fail")])
    worst_cell = max(cells, key=lambda cell: (severity(cell), -cells.index(cell)))
    best, recommendation = _best(judged)
    return Opening(best, _worst(worst_cell), _proof(cells), recommendation, worst_cell)


def severity(cell: Cell) -> tuple[int, ...]:
    """How bad a cell is: a broken guarantee first, then the verdict, then losses, then the other violations."""
    counts = Counter(violations_of(cell))
    harmless = sum(counts[label] for label in HARMLESS)
    others = counts.total() - harmless - counts["missed"]
    return (
        cell["within_guarantees"] is False, OUTCOMES.index(cell["outcome"]), counts["missed"], others, harmless,
    )  # fmt: skip


def in_words(counts: Mapping[str, int]) -> str:
    """The violations: "45 missed, 9 duplicate"; empty if there are none."""
    return ", ".join(f"{counts[label]} {label.replace('_', ' ')}" for label in VIOLATIONS if counts.get(label))


def advice(cells: Sequence[Cell]) -> list[Advice]:
    """What to change, first what would have prevented the worst."""
    found: dict[tuple[str, int], Advice] = {}
    for failure in failures(cells):
        mechanism, fix = failure.mechanism, _fix(failure)
        entry = found.setdefault((fix, id(mechanism)), Advice(fix, cause_of(failure), mechanism, {}, ()))
        # Of many cells, the number: the matrix has them all.
        what = failure.summary if len(failure.cells) <= 4 else f"{len(failure.cells)} runs"
        entry.where[failure.design] = joined([*filter(None, [entry.where.get(failure.design)]), what])
        entry.severity = max(entry.severity, *map(severity, failure.cells))
    return sorted(found.values(), key=lambda entry: entry.severity, reverse=True)


def general_fix(label: str) -> str:
    """The checker's advice on a violation."""
    return FIXES[label].removeprefix("Fix: ").removesuffix(".")


def _fix(failure: Failure) -> str:
    """The mechanism's own, or the general advice on the gravest violation."""
    own = failure.mechanism.fix if failure.mechanism else ""
    return own or general_fix(next(iter(violations_of(max(failure.cells, key=severity)))))


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
        ranks[design] = (broken, harmed, failed, _totals(own).total() / len(own))
    return ranks


def _failed(cell: Cell) -> bool:
    return bool(cell["outcome"] == "fail")


def _documented(cell: Cell) -> bool:
    return cell["within_guarantees"] is True


def _totals(cells: Sequence[Cell]) -> Counter[str]:
    totals = Counter[str]()
    for cell in cells:
        totals.update(violations_of(cell))
    return totals


def _harms(cell: Cell) -> bool:
    return any(label not in HARMLESS for label in violations_of(cell))


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
    counts = _totals(own)
    nothing = "" if counts["missed"] or not failed else "missed nothing and "
    passed = f"{len(own) - len(failed)} of" if len(failed) < len(own) else "none of"
    sentence = f"{_named(best)} {nothing}passed {passed} {_count(len(own), 'run')}"
    if failed:
        others = "" if len(failed) == len(own) else " the other had" if len(failed) == 1 else " the others had"
        sentence += f"{';' if others else ':'}{others} {in_words(counts)}"
    return f"{sentence}.", _recommendation(judged, best, failed)


def _recommendation(judged: Sequence[Cell], best: Sequence[str], failed: Sequence[Cell]) -> str:
    """failed: the failed runs of the `best` designs."""
    if not any(map(_failed, judged)):
        return "Inject a fault that you expect in production: these runs do not tell the designs apart."
    if not failed:
        return f"Choose {_named(best, 'or')}."
    fix = _fix(failures([max(failed, key=severity)])[0])
    if len(best) == len({cell["design"] for cell in judged}):
        return f"{fix[:1].upper()}{fix[1:]}."
    if any(map(_harms, failed)):
        return f"None is ready as it is. {_named(best)} {'fails' if len(best) == 1 else 'fail'} least; {fix}."
    return f"Choose {_named(best, 'or')}, and {fix}."


def _worst(cell: Cell) -> str:
    name = f"{cell['design']} in {cell['scenario']}"
    if cell["outcome"] == "fail":
        broken = ", and that breaks its guarantee" if cell["within_guarantees"] is False else ""
        return f"The worst run is {name}: {in_words(violations_of(cell))}{broken}."
    return "No run had a violation." if cell["outcome"] == "pass" else f"{name} is {cell['outcome']}."


def _proof(cells: Sequence[Cell]) -> str:
    outcomes = Counter(cell["outcome"] for cell in cells)
    broken = list(dict.fromkeys(cell["design"] for cell in cells if cell["within_guarantees"] is False))
    unknown = outcomes["unknown"]
    if unknown:
        verbs = ("is", "proves") if unknown == 1 else ("are", "prove")
        return f"Of {len(cells)} runs, {unknown} {verbs[0]} unknown and {verbs[1]} nothing."
    if broken:
        return f"{_named(broken)} {'breaks its' if len(broken) == 1 else 'break their'} own guarantee."
    unstated = list(dict.fromkeys(cell["design"] for cell in cells if _failed(cell) and not _documented(cell)))
    if unstated:
        return f"No guarantee of {_named(unstated)} was stated, so that failure is not a documented one."
    if outcomes["fail"]:
        return "Each violation is one that its design's guarantees allow: a documented failure."
    return "A pass proves nothing about a fault that was not injected."


def _named(designs: Sequence[str], word: str = "and") -> str:
    """ "a, b and c"; of more than four, three and the number of the others."""
    names = [*designs[:3], f"{len(designs) - 3} others"] if len(designs) > 4 else designs
    return f" {word} ".join(joined(names).rsplit(" and ", 1))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
