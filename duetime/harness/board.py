"""Where the runs are, while they go on: a live line a scenario on a terminal, a plain line a change elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

PHASES = ("starting servers", "running", "closing", "done")


class Board:
    """Shows on standard error which phase each run is in. Safe to call from every thread."""

    def __init__(self, scenarios: Sequence[str], designs: Sequence[str], *, seeds: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._designs = list(designs)
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._phases: dict[tuple[str, str], str] = {}
        self._steps = len(PHASES) * len(designs) * seeds
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {
            name: self._progress.add_task(name, total=self._steps, start=False, state="") for name in scenarios
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, scenario: str, design: str, phase: str) -> None:
        """Say that the run of `design` in `scenario` has entered `phase`."""
        with self._lock:
            self._phases[scenario, design] = phase
            task = self._tasks[scenario]
            self._progress.start_task(task)
            state = "  ".join(f"{name}: {self._phases.get((scenario, name), '…')}" for name in self._designs)
            self._progress.update(task, advance=1, state=state)
            if not self._console.is_terminal:
                elapsed_s = time.monotonic() - self._started
                self._console.print(f"{elapsed_s:6.1f} s  {scenario} / {design}: {phase}", soft_wrap=True)

    def cell(self, scenario: str, design: str, outcome: str) -> None:
        """Say how a run was judged."""
        self._phases[scenario, design] = outcome
        state = "  ".join(f"{name}: {self._phases.get((scenario, name), '…')}" for name in self._designs)
        self._progress.update(self._tasks[scenario], state=state)
