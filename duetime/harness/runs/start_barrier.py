"""The common start of the runs of one scenario."""

from __future__ import annotations

import threading

from duetime.clock import Instant, instant
from duetime.harness.processes.cancellation import CancelToken

AHEAD_NS = 400_000_000
"""For the clients to receive the start, and for the canaries to begin."""
SECOND_NS = 1_000_000_000


class StartBarrier:
    """Holds each of `runs` runs until all that have not left are waiting."""

    def __init__(self, runs: int, stop: CancelToken) -> None:
        self._expected = runs
        self._waiting = 0
        self._stop = stop
        self._start: Instant | None = None
        self._changed = threading.Condition()

    def wait(self) -> Instant:
        """Wait for the other runs; return the common start, a full second of the wall clock in the near future.

        A full second, because pollers poll then, and scenarios plan due times relative to it.

        Raises:
            Interrupted: the runs were stopped meanwhile.
        """
        with self._changed:
            self._waiting += 1
            self._decide()
            while self._start is None:
                self._changed.wait(timeout=0.1)
                self._stop.sleep(0)
            return self._start

    def leave(self) -> None:
        """Do not wait for the calling run. No effect once the start is decided."""
        with self._changed:
            if self._start is None:
                self._expected -= 1
                self._decide()

    def _decide(self) -> None:
        if self._waiting and self._waiting >= self._expected:
            now = instant()
            wall_ns = -(-(now.wall_ns + AHEAD_NS) // SECOND_NS) * SECOND_NS
            self._start = Instant(wall_ns=wall_ns, mono_ns=now.mono_ns + wall_ns - now.wall_ns)
            self._changed.notify_all()
