"""The progress of a command's runs: a live line per scenario on a terminal, a plain line per change elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from duetime.harness.runs.cell import Cell

SHOWN_INDIVIDUALLY = 4
"""With more scenarios, only those that have begun are shown; with more designs, their phases are counted."""
PHASES = ("starting", "running", "waiting", "closing", "done")


class ProgressConsole(Console):
    """A console that is silent once nobody reads it; rich would end the thread of a run that reports its phase."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class ProgressDisplay:
    """Shows on standard error which phase each run is in. Safe to call from any thread."""

    def __init__(self, scenarios: Sequence[str], designs: Sequence[str], *, seeds: int) -> None:
        self._console = ProgressConsole(stderr=True, highlight=False)
        self._designs = list(designs)
        self._several_seeds = seeds > 1
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._phases: dict[tuple[str, str], str] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<19}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        steps = len(PHASES) * len(designs) * seeds
        visible = len(scenarios) <= SHOWN_INDIVIDUALLY
        self._tasks: dict[str, TaskID] = {
            name: self._progress.add_task(name, total=steps, start=False, state="", visible=visible)
            for name in scenarios
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, scenario: str, design: str, phase: str) -> None:
        """Show that the run of `design` in `scenario` has entered `phase`."""
        with self._lock:
            self._phases[scenario, design] = phase
            task = self._tasks[scenario]
            self._progress.start_task(task)
            self._progress.update(task, advance=1, state=self._state(scenario), visible=True)
            if not self._console.is_terminal:
                self._print(f"{scenario} / {design}: {phase}")

    def cell(self, cell: Cell) -> None:
        """Show the verdict of a run, also on a terminal: the next row is seconds away."""
        violations = "".join(f", {number} {label}" for label, number in sorted(cell.violations.items()))
        seed = f", seed {cell.seed}" if self._several_seeds else ""
        with self._lock:
            self._phases[cell.scenario, cell.design] = cell.outcome
            self._progress.update(self._tasks[cell.scenario], state=self._state(cell.scenario))
            self._print(f"{cell.scenario} / {cell.design}{seed}: {cell.outcome}{violations}")

    def _print(self, line: str) -> None:
        elapsed_s = time.monotonic() - self._started
        self._console.print(f"{elapsed_s:6.1f} s  {line}", soft_wrap=True)

    def _state(self, scenario: str) -> str:
        phases = {name: self._phases.get((scenario, name), "…") for name in self._designs}
        if len(phases) <= SHOWN_INDIVIDUALLY:
            return "  ".join(f"{name}: {phase}" for name, phase in phases.items())
        return "  ".join(f"{number} {phase}" for phase, number in Counter(phases.values()).items())
