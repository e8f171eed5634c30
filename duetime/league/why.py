"""Why cells fail: each failing one needs a mechanism with a source, and each mechanism a cell that it explains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from duetime.checker import VIOLATIONS
from duetime.harness.runs.cell import Cell
from duetime.league.matrix import Judged, Place
from duetime.pages import FILES
from duetime.report.conclusions import mechanism_for
from duetime.report.contender_mechanisms import PARTS_OF_MISSED, Paragraph
from duetime.report.mechanism import Mechanism


@dataclass(frozen=True, slots=True)
class Reason:
    """A mechanism as the league shows it. title: a sentence. sources: Markdown. page: where it is described."""

    entrant: str
    title: str
    sources: tuple[str, ...]
    page: str


def kinds(cell: Cell) -> dict[str, int]:
    """Return how often each kind of violation occurs in a failing cell; a missed one is lost, stuck, …, if known."""
    if cell.outcome != "fail":
        return {}
    found = {label: count for label in VIOLATIONS if (count := cell.violations.get(label, 0))}
    parts = {label: count for label in PARTS_OF_MISSED if (count := cell.counts.get(label, 0))}
    if sum(parts.values()) == found.get("missed"):
        del found["missed"]
        found = {**parts, **found}
    return found


@dataclass(slots=True)
class Explanations:
    """Numbers the mechanisms in the order in which cells need them, and collects the cells that have none."""

    mechanisms: Sequence[Paragraph]
    numbers: dict[Reason, int] = field(default_factory=dict)
    unexplained: dict[tuple[str, str], str] = field(default_factory=dict)
    """By the run and the kind of violation: what the run says."""

    def of(self, cells: Judged) -> list[int]:
        """Return the numbers of the mechanisms that explain the failing ones of `cells`."""
        used: dict[int, None] = {}
        for place, cell in cells:
            for kind in kinds(cell):
                found = list(self._of(place, cell, kind))
                if not found:
                    where = f"{place.scenario.name} / {place.design.name}, seed {place.seed}"
                    self.unexplained[where, kind] = cell.explanation
                for reason in found:
                    used[self.numbers.setdefault(reason, len(self.numbers) + 1)] = None
        return sorted(used)

    def unused(self, judged: Judged) -> list[str]:
        """Return a library's mechanisms that explain no failing cell, although a cell that they name was judged."""
        return [
            f"{mechanism.contender}: {mechanism.title}"
            for mechanism in self.mechanisms
            if _of_library(mechanism) not in self.numbers
            and any(
                mechanism.covers(place.scenario.name, place.variant, kind)
                for place, cell in judged
                if place.entrant == mechanism.contender and cell.outcome in ("pass", "fail")
                for kind in (*VIOLATIONS, *PARTS_OF_MISSED)
            )
        ]

    def _of(self, place: Place, cell: Cell, kind: str) -> Iterator[Reason]:
        if not place.design.contender:
            asked = "missed" if kind in PARTS_OF_MISSED else kind
            if mechanism := mechanism_for(cell.to_json(), asked):
                yield _of_ours(place.entrant, mechanism)
            return
        for paragraph in self.mechanisms:
            if paragraph.contender == place.entrant and paragraph.covers(place.scenario.name, place.variant, kind):
                yield _of_library(paragraph)


def _of_library(paragraph: Paragraph) -> Reason:
    readme = f"../contenders/{paragraph.contender}/README.md#what-fails-here-and-why"
    return Reason(paragraph.contender, paragraph.title, paragraph.sources, readme)


def _of_ours(entrant: str, mechanism: Mechanism) -> Reason:
    upstream = (f"[upstream]({mechanism.upstream})",) if mechanism.upstream else ()
    page = mechanism.page.removeprefix(f"{FILES}/docs/")
    return Reason(entrant, f"{mechanism.cause[:1].upper()}{mechanism.cause[1:]}.", upstream, page)
