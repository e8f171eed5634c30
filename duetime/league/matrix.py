"""The runs of the league: which there are, which are stored, and which have to be made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path

from duetime import contenders
from duetime.errors import BadUsage, NotARun
from duetime.harness.plan.scenario import SIDE_BY_SIDE, Scenario
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.fork_server import fork_server
from duetime.harness.processes.services import Services
from duetime.harness.runs.applicability import not_applicable_reason
from duetime.harness.runs.cell import Cell, Outcome, stored_cell
from duetime.harness.runs.compare import run_side_by_side
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.spec import RunSpec
from duetime.interface import Design
from duetime.league.records import CELL, MEASURED, PLAN, recorded_cell
from duetime.league.sources import sources_of
from duetime.report.contender_mechanisms import DEFAULT_VARIANT

ROOT = contenders.ROOT
AT_ONCE = 8
"""Runs side by side, half of them of another scenario, so that their faults strike at different moments. Five of one
scenario left two cores idle for nine tenths of the time between their starts, measured."""
UNPUNCTUAL_S = 10.0
"""A design that may be later than this, by its guarantees, runs beside its like."""
OVERHEAD_S = 16.0
"""Starting eight designs on two cores, and closing their runs, measured."""

DIRTY = "-dirty"
UNKNOWN = "unknown"

Again = frozenset[str]
TOO_LATE = "late"


@dataclass(frozen=True, slots=True)
class Place:
    """A cell's place in the matrix: one variant of a library or of a design, one scenario, one seed."""

    design: Design
    scenario: Scenario
    seed: int

    @property
    def entrant(self) -> str:
        return table_name(self.design.name).partition(":")[0]

    @property
    def variant(self) -> str:
        return table_name(self.design.name).partition(":")[2] or DEFAULT_VARIANT

    def directory(self, out: Path) -> Path:
        """The run directory."""
        return out / self.scenario.name / f"{self.design.name.replace(':', '-')}-seed{self.seed}"


Judged = Sequence[tuple[Place, Cell]]


def table_name(design: str) -> str:
    """Return the name of a design in the tables of the league: ``rq:tuned`` for ``contender:rq:tuned``."""
    return design.removeprefix(contenders.PREFIX)


class Matrix:
    """Cells that are stored in `out`, or will be.

    of_head: a run of other sources than those of HEAD counts as none. at_once: the most runs side by side.
    """

    def __init__(
        self,
        designs: Sequence[Design],
        scenarios: Sequence[Scenario],
        seeds: Sequence[int],
        out: Path,
        *,
        of_head: bool = False,
        at_once: int = AT_ONCE,
    ):
        self.places = [Place(design, scenario, seed) for scenario in scenarios for seed in seeds for design in designs]
        self._out = out
        self._of_head = of_head
        self._at_once = at_once

    def cells(self, services: Services) -> Iterator[tuple[Place, Cell | None]]:
        """Yield each place with its cell, None if it was not run. Today's checker judges again what has its files."""
        for place in self.places:
            yield place, self._cell(place, services)

    def to_run(self, services: Services, again: Again) -> list[Place]:
        """Return the places without a finished run of the same plan, and those of outcomes in `again`.

        With `TOO_LATE` in it, also all seeds of a design in a scenario in which one was later than it guarantees: a
        busy machine may be the reason, and to repeat that one alone would choose among the results.
        """
        found = list(self.cells(services))
        late = {(place.design.name, place.scenario.name) for place, cell in found if cell and _is_too_late(cell)}
        return [
            place
            for place, cell in found
            if cell is None
            or (cell.outcome != "not applicable" and not again.isdisjoint({cell.outcome, "all"}))
            or (TOO_LATE in again and (place.design.name, place.scenario.name) in late)
        ]

    def _cell(self, place: Place, services: Services) -> Cell | None:
        directory = place.directory(self._out)
        if reason := not_applicable_reason(place.scenario.plan(place.seed), place.design, services):
            return _without_results(place, "not applicable", reason, directory)
        try:
            measured = json.loads((directory / MEASURED).read_text())
            if self._of_head and measured.get("sources") != sources_of(place.design.name):
                return None
            if json.loads((directory / PLAN).read_text())["plan_hash"] != place.scenario.plan(place.seed).hash():
                return None
            if (directory / "closed.json").exists():
                return stored_cell(directory, weakness=place.design.weakness)
            if (directory / CELL).exists():
                return recorded_cell(directory, _without_results(place, "unknown", "", directory))
        except (OSError, ValueError, KeyError, TypeError, NotARun):
            return None
        return _without_results(place, "unknown", measured["explanation"], directory)

    def run_missing(
        self, services: Services, tempdir: Path, again: Again, report: Callable[[str], None], *, estimate: bool
    ) -> None:
        """Report how many places are to be run, and unless it is only to `estimate` them, run them."""
        places = self.to_run(services, again)
        report(f"{len(places)} runs, about {estimate_s(places, self._at_once) / 60:.0f} minutes")
        if places and not estimate:
            versions = services.prepare(side_by_side=self._at_once)
            with fork_server(tempdir) as clients:
                self._run(places, RunContext(tempdir, services, versions, CancelToken(), clients), report)

    def _run(self, places: Sequence[Place], context: RunContext, report: Callable[[str], None]) -> None:
        """Run `places`, side by side where that disturbs none. A run that was there is removed."""
        measured, sources = {**_measured(), "at_once": self._at_once}, _sources(places)
        batches = _batches(places, self._at_once)
        for number, batch in enumerate(batches):
            left_s = sum(map(_batch_s, batches[number:]))
            report(
                f"{' and '.join(dict.fromkeys(place.scenario.name for place in batch))}, batch {number + 1} of "
                f"{len(batches)}, about {left_s / 60:.0f} minutes left"
            )
            specs = [
                RunSpec(
                    design=place.design,
                    design_name=place.design.name,
                    plan=place.scenario.plan(place.seed),
                    directory=place.directory(self._out),
                    slot=slot,
                    context=context,
                )
                for slot, place in enumerate(batch)
            ]
            if described_tree() != measured["tree"]:
                raise BadUsage(
                    f"the tree {measured['tree']} has changed meanwhile; run the command again, which repeats what "
                    "the change concerns"
                )
            for spec in specs:
                shutil.rmtree(spec.directory, ignore_errors=True)
            for cell in run_side_by_side(specs):
                report(f"  {cell.scenario} / {cell.design}, seed {cell.seed}: {cell.outcome}")
                if cell.run_dir.exists():
                    stamp = {**measured, "sources": sources[cell.design], "explanation": cell.explanation}
                    (cell.run_dir / MEASURED).write_text(json.dumps(stamp))


def _is_too_late(cell: Cell) -> bool:
    return cell.within_guarantees is False and bool(cell.violations.get("late"))


def estimate_s(places: Sequence[Place], at_once: int = AT_ONCE) -> float:
    """Return about how many seconds `places` take on two cores."""
    return sum(map(_batch_s, _batches(places, at_once)))


def _batches(places: Sequence[Place], most: int = AT_ONCE) -> list[Sequence[Place]]:
    """Return the places that run side by side: of two scenarios that take about as long, and of any seed.

    The shortest come first. A scenario that is disturbed by others stays alone, as many at once as it allows. Last come
    those that keep others waiting, of any scenarios.
    """
    in_order = sorted(places, key=lambda place: (_seconds(place), place.scenario.name))
    by_scenario: dict[str, list[Place]] = {}
    for place in in_order:
        if not _keeps_others_waiting(place):
            by_scenario.setdefault(place.scenario.name, []).append(place)
    groups = [(group, group[0].scenario.side_by_side) for group in by_scenario.values()]
    together = [group for group, at_once in groups if at_once == SIDE_BY_SIDE]
    queues = [(list(_alternating(together[first : first + 2])), most) for first in range(0, len(together), 2)]
    queues += [(group, min(at_once, most)) for group, at_once in groups if at_once != SIDE_BY_SIDE]
    queues.append(([place for place in in_order if _keeps_others_waiting(place)], most))
    return [queue[first : first + at_once] for queue, at_once in queues for first in range(0, len(queue), at_once)]


def _keeps_others_waiting(place: Place) -> bool:
    """Return True if its design may be so late that its run stays open long after those beside it."""
    together = place.scenario.side_by_side == SIDE_BY_SIDE
    return together and place.design.guarantees.punctual_to_s > UNPUNCTUAL_S


def _alternating(groups: Sequence[Sequence[Place]]) -> Iterator[Place]:
    for several in zip_longest(*groups):
        yield from (place for place in several if place)


def _seconds(place: Place) -> float:
    return place.scenario.plan(place.seed).judged_until_s()


def _batch_s(batch: Sequence[Place]) -> float:
    return max(_seconds(place) + place.design.guarantees.punctual_to_s for place in batch) + OVERHEAD_S


def _without_results(place: Place, outcome: Outcome, reason: str, directory: Path) -> Cell:
    return Cell(
        design=place.design.name,
        scenario=place.scenario.name,
        seed=place.seed,
        outcome=outcome,
        within_guarantees=None,
        explanation=reason,
        weakness=place.design.weakness,
        run_dir=directory,
    )


def described_tree() -> str:
    """Return the commit of the tree, with `DIRTY` if files of it have changed; `UNKNOWN` without git."""
    done = subprocess.run(
        ["git", "describe", "--always", f"--dirty={DIRTY}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or UNKNOWN


def is_committed(tree: str) -> bool:
    """Return True if `tree`, as `described_tree` returns it, is a commit without changes."""
    return not tree.endswith(DIRTY) and tree != UNKNOWN


def _sources(places: Iterable[Place]) -> dict[str, str]:
    """Return the sources that decide each design's runs; none are known if files have changed since the commit."""
    committed = is_committed(described_tree())
    return {place.design.name: sources_of(place.design.name) if committed else "" for place in places}


def _measured() -> dict[str, object]:
    """Return what is measured, and on what."""
    return {
        "tree": described_tree(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": os.cpu_count(),
        "at_once": AT_ONCE,
    }
