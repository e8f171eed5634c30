"""Where the runs of one scenario wait for each other, so that the same thing happens to all at the same instant."""

from __future__ import annotations

import threading

from duetime.clock import Instant, instant
from duetime.harness.processes.cancellation import CancelToken

AHEAD_NS = 700_000_000
SECOND_NS = 1_000_000_000


class StartBarrier:
    """Lets everyone go once all who have not withdrawn are here."""

    def __init__(self, runs: int, stop: CancelToken) -> None:
        self._expected = runs
        self._here = 0
        self._stop = stop
        self._start: Instant | None = None
        self._changed = threading.Condition()

    def wait(self) -> Instant:
        """Wait for the others; the common start, a full second of the wall clock a moment from now.

        A full second, because by-the-clock pollers look then and scenarios say where in a second a thing falls due.

        Raises:
            Interrupted: the run was stopped meanwhile.
        """
        with self._changed:
            self._here += 1
            self._decide()
            while self._start is None:
                self._changed.wait(timeout=0.1)
                self._stop.sleep(0)
            return self._start

    def withdraw(self) -> None:
        """Never come: this run could not be prepared. Without effect once the start is decided."""
        with self._changed:
            if self._start is None:
                self._expected -= 1
                self._decide()

    def _decide(self) -> None:
        if self._here and self._here >= self._expected:
            now = instant()
            wall_ns = -(-(now.wall_ns + AHEAD_NS) // SECOND_NS) * SECOND_NS
            self._start = Instant(wall_ns=wall_ns, mono_ns=now.mono_ns + wall_ns - now.wall_ns)
            self._changed.notify_all()
