"""Runs side by side: one scenario and one seed, each run with a design and a slot of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from duetime.clock import Instant
from duetime.errors import Interrupted
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import kill_owned
from duetime.harness.runs.cell import Cell
from duetime.harness.runs.spec import RunSpec
from duetime.harness.runs.start_barrier import StartBarrier

Progress = Callable[[str, str, str], None]
"""Called with scenario, design and phase, from the threads of the runs."""
RunOne = Callable[[RunSpec, "Batch", Callable[[str], None]], Cell]
"""Carries out and judges one run of a batch, and reports its phases."""

CHECK_EVERY_S = 0.05


class Gate:
    """Opens when each of `runs` runs has arrived."""

    def __init__(self, runs: int) -> None:
        self._missing = set(range(runs))
        self._lock = threading.Lock()
        self._open = threading.Event()

    def arrive(self, run: int) -> None:
        with self._lock:
            self._missing.discard(run)
            if not self._missing:
                self._open.set()

    def wait(self, stop: CancelToken) -> None:
        """Wait until it is open.

        Raises:
            Interrupted: the runs were stopped meanwhile.
        """
        while not self._open.wait(CHECK_EVERY_S):
            stop.sleep(0)
        # A stop ends the runs that were waited for, and so opens the gate.
        stop.sleep(0)


class Batch:
    """Runs that start at the same instant.

    after: the batch before, if the processes of this one may be started while it still runs. The runs of this one begin
    when the last deadline of that one has passed.
    nearly_over: open when each run awaits its last deadlines, so that processes of the next batch may start. judged:
    open when they have passed, so that no load can change a verdict.
    """

    def __init__(
        self, specs: Sequence[RunSpec], run_one: RunOne, progress: Progress, *, after: Batch | None = None
    ) -> None:
        self._stop = specs[0].context.stop
        self._tempdir = specs[0].context.tempdir
        self._barrier = StartBarrier(len(specs), self._stop)
        self._after = after
        self._run_one = run_one
        self._progress = progress
        self._cells: dict[int, Cell] = {}
        self.nearly_over, self.judged = Gate(len(specs)), Gate(len(specs))
        self._threads = [
            threading.Thread(target=self._run, args=(number, spec), name=f"{spec.plan.scenario}/{spec.design_name}")
            for number, spec in enumerate(specs)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def agree_on_start(self) -> Instant:
        """Wait for the runs of this batch and for the deadlines of the batch before; return the common start."""
        if self._after:
            self._after.judged.wait(self._stop)
        return self._barrier.wait()

    def leave(self) -> None:
        """The calling run does not start."""
        self._barrier.leave()

    def cells(self) -> Iterator[Cell]:
        """The cells in the order of the runs, each as soon as it and those before it are judged."""
        for number, thread in enumerate(self._threads):
            while thread.is_alive():
                thread.join(timeout=0.2)
            if number in self._cells:
                yield self._cells[number]

    def abandon(self) -> None:
        """Stop all runs of the command, after Ctrl-C, and wait for the threads of these."""
        self._stop.set()
        kill_owned(self._tempdir)
        for thread in self._threads:
            # A thread may not have been started.
            with suppress(RuntimeError):
                thread.join()

    def _run(self, number: int, spec: RunSpec) -> None:
        def report(phase: str) -> None:
            if phase in ("waiting", "closing", "done"):
                self.nearly_over.arrive(number)
            if phase in ("closing", "done"):
                self.judged.arrive(number)
            self._progress(spec.plan.scenario, spec.design.name, phase)

        try:
            self._cells[number] = self._run_one(spec, self, report)
        except Interrupted:
            pass
        finally:
            report("done")
