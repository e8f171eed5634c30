"""What a comparison says, in sentences: one for each design, and one mechanism for what fails for the same reason.

Pure functions of the cells as they are in JSON, for the terminal, the page and every other format.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from duetime.checker import VIOLATIONS
from duetime.report.contender_mechanisms import PARTS_OF_MISSED, mechanisms_of_contender
from duetime.report.mechanism import Mechanism
from duetime.report.mechanisms import MECHANISMS

Cell = Mapping[str, Any]
SENT: Mapping[str, str] = {
    "duplicate": "sent {n} in duplicate",
    "will_repeat": "will send {n} again",
    "phantom": "sent {n} after a cancel",
    "stale": "sent {n} in an old version",
    "early": "sent {n} too early",
    "late": "sent {n} too late",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What all cells of one design say.

    fails: whether a judged cell fails. within_guarantees: of all that fail together; None if none does, or if the
    design has stated none.
    """

    design: str
    sentence: str
    fails: bool
    within_guarantees: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The failing cells of one design with one mechanism and one verdict.

    counts: by scenario and kind, such as ``{"downtime": {"missed": 14}}``, over all seeds. mechanism: None if
    it is a design of somebody else, which only its own `weakness` explains.
    """

    design: str
    cells: Sequence[Cell]
    mechanism: Mechanism | None
    counts: Mapping[str, Mapping[str, int]]

    @property
    def summary(self) -> str:
        """Such as ``missed 14 in downtime and 7 in crash``."""
        kinds: dict[str, list[str]] = {}
        for scenario, counts in self.counts.items():
            for kind, number in counts.items():
                kinds.setdefault(kind, []).append(f"{number} in {scenario}")
        return ", ".join(f"{kind} {joined(places)}" for kind, places in kinds.items())


def cause_of(failure: Failure) -> str:
    """The mechanism's cause, or what is known instead: a stated weakness need not be what failed here."""
    if failure.mechanism:
        return failure.mechanism.cause
    return unexplained(failure.cells[0]["weakness"])


def unexplained(weakness: str) -> str:
    """The cause of what no mechanism explains, in a design with this `weakness`."""
    return f"it is not known here; the weakness that the design states: {weakness}" if weakness else ""


def verdict(cell: Cell) -> str:
    """The verdict in words: a failure says whether the design's guarantees allow it."""
    if cell["outcome"] != "fail":
        return str(cell["outcome"])
    return {False: "BREAKS ITS GUARANTEE", True: "fails, as documented"}.get(cell["within_guarantees"], "fails")


def violations_of(cell: Cell) -> dict[str, int]:
    """The violations of a cell by kind, the gravest first."""
    found = cell["violations"]
    return {kind: found[kind] for kind in VIOLATIONS if found.get(kind)}


def example(cell: Cell, *, with_fix: bool) -> str:
    """The checker's explanation of one violation, and its remarks; without its general advice unless `with_fix`."""
    text = str(cell["explanation"]).partition("For example: ")[2] or str(cell["explanation"])
    return text if with_fix else re.sub(r" ?Fix: [^.]*\.", "", text)


def telling(cell: Cell) -> str:
    """The gravest kind of violation in a cell with its number, such as ``missed 14``; empty for none."""
    return next((f"{kind} {number}" for kind, number in violations_of(cell).items()), "")


def conclusions(cells: Iterable[Cell]) -> list[Conclusion]:
    """One for each design, in the order of the cells; what is not applicable says nothing."""
    by_design: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell["outcome"] != "not applicable":
            by_design.setdefault(cell["design"], []).append(cell)
    return [_conclusion(design, found) for design, found in by_design.items()]


def _conclusion(design: str, cells: Sequence[Cell]) -> Conclusion:
    judged = [cell for cell in cells if cell["outcome"] != "unknown"]
    failed = [cell for cell in judged if cell["outcome"] == "fail"]
    parts = [_what_happened(judged)] if judged else []
    if len(judged) < len(cells):
        unknown = len(cells) - len(judged)
        parts.append(f"{unknown} of {len(cells)} runs {'proves' if unknown == 1 else 'prove'} nothing")
    within = {cell["within_guarantees"] for cell in failed}
    if False in within:
        parts[0] += ", which BREAKS ITS GUARANTEE"
    elif within == {True}:
        parts[0] += ", as documented"
    together = False if False in within else True if within == {True} else None
    return Conclusion(design=design, sentence="; ".join(parts), fails=bool(failed), within_guarantees=together)


def _what_happened(cells: Sequence[Cell]) -> str:
    totals = Counter[str]()
    for cell in cells:
        totals.update(violations_of(cell))
    owed = sum(cell["counts"].get("owed", 0) for cell in cells)
    lost = f"missed {totals['missed']} of {owed}" if totals["missed"] else f"lost nothing of {owed}"
    sent = [SENT[kind].format(n=totals[kind]) for kind in VIOLATIONS if kind in SENT and totals[kind]]
    return joined([lost, *sent])


def failures(cells: Iterable[Cell]) -> list[Failure]:
    """The failing cells, those of one design with one mechanism and one verdict together, in the order of the cells."""
    groups: dict[tuple[str, str, int], tuple[Mechanism | None, list[Cell]]] = {}
    for cell in cells:
        if cell["outcome"] == "fail":
            # The gravest kind.
            mechanism = mechanism_for(cell, next(iter(violations_of(cell))))
            groups.setdefault((cell["design"], verdict(cell), id(mechanism)), (mechanism, []))[1].append(cell)
    return [
        Failure(design=design, cells=found, mechanism=mechanism, counts=_by_scenario(found, mechanism))
        for (design, _, _), (mechanism, found) in groups.items()
    ]


def mechanism_for(cell: Cell, kind: str) -> Mechanism | None:
    """The mechanism behind the violations of a cell of one kind; None for a design of somebody else."""
    design, scenario, labels = cell["design"], cell.get("base", cell["scenario"]), _labels(cell, kind)
    known = [*MECHANISMS, *mechanisms_of_contender(design)]
    return next((one for one in known if one.explains(design, scenario, labels)), None)


def _labels(cell: Cell, kind: str) -> list[str]:
    """The kind of violation, and where most of what was missed is."""
    if kind != "missed":
        return [kind]
    places = {place: cell["counts"].get(place, 0) for place in PARTS_OF_MISSED}
    return [kind, max(places, key=lambda place: places[place])]


def _by_scenario(cells: Sequence[Cell], mechanism: Mechanism | None) -> Mapping[str, Mapping[str, int]]:
    """Only the kinds that `mechanism` explains, if there are any."""
    explained = set(mechanism.labels) if mechanism else set(VIOLATIONS)
    wanted = explained | ({"missed"} if explained & {*PARTS_OF_MISSED} else set())
    found: dict[str, Counter[str]] = {}
    for cell in cells:
        kinds = violations_of(cell)
        found.setdefault(cell["scenario"], Counter()).update(
            {kind: number for kind, number in kinds.items() if kind in wanted} or kinds
        )
    return found


def joined(parts: Sequence[str]) -> str:
    """The parts as in a sentence: with commas, and ``and`` before the last."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)
