"""Where deliveries run: in the thread of the loop, or several at a time in a pool."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from duetime.runtime.heartbeat import Heartbeat
from push_readmodel.database_errors import retried
from push_readmodel.drain import Drain, Remaining

log = logging.getLogger(__name__)

HEARTBEAT_EVERY_S = 5.0
STALLED_AFTER_S = 5.0
"""A pool in which every thread is busy and no batch has ended for this long sends no heartbeat."""
CHECKED = "checked the database for due rows"

Submit = Callable[[Callable[[], None]], object]
"""Runs a function in another thread."""


class DrainInThread:
    """Drains in the thread of the loop, with a heartbeat whenever the drain checks whether to stop."""

    def __init__(self, stopping: Callable[[], bool], heartbeat: Heartbeat) -> None:
        self._stopping = stopping
        self._heartbeat = heartbeat
        self._held = False

    def run(self, drain: Drain) -> tuple[Remaining, bool]:
        """Deliver what is due. Returns what remains, and True if a due row may be free."""
        delivered, remaining = drain.drain_all(self._beat_and_check_stopping)
        # Nothing was delivered although a row is due. If this happens once, it may have become due after the claim, so
        # try again. If the next drain finds the same, another worker holds it, so sleep.
        held_before, self._held = self._held, remaining.due and not delivered
        return remaining, remaining.due and not (self._held and held_before)

    def close(self) -> None:
        self._held = False

    def is_progressing(self) -> bool:
        return True

    def _beat_and_check_stopping(self) -> bool:
        self._heartbeat.beat(CHECKED, again_within_s=0)
        return self._stopping()


class DrainInPool:
    """Drains in up to `threads` threads of a pool, each over its own connection; the thread of the loop only checks.

    wake: wakes the loop.
    """

    def __init__(
        self,
        stopping: Callable[[], bool],
        *,
        submit: Submit,
        threads: int,
        open_drain: Callable[[], Drain],
        wake: Callable[[], None],
    ) -> None:
        self._stopping = stopping
        self._submit = submit
        self._threads = threads
        self._open_drain = open_drain
        self._wake = wake
        self._idle: list[Drain] = []
        self._busy = 0
        self._lock = threading.Lock()
        self._progressed_at_s = time.monotonic()
        self._failure: Exception | None = None

    def run(self, drain: Drain) -> tuple[Remaining, bool]:
        """Check with `drain`, and start every free thread if a row is due. Returns what remains, and False.

        Raises:
            Exception: a thread raised it.
        """
        remaining = drain.check_remaining()
        for _ in range(self._threads - self._busy if remaining.due else 0):
            with self._lock:
                self._busy += 1
            self._submit(self._drain_in_pool)
        if self._failure:
            raise self._failure
        return remaining, False

    def close(self) -> None:
        """Close the connections that no thread uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for drain in idle:
            drain.close()

    def is_progressing(self) -> bool:
        """Return False if every thread is busy and no batch has ended for `STALLED_AFTER_S`."""
        return self._busy < self._threads or time.monotonic() - self._progressed_at_s < STALLED_AFTER_S

    def _drain_in_pool(self) -> None:
        delivered = 0
        try:
            delivered = self._drain_over_idle_connection()
        except Exception as error:  # noqa: BLE001 - raised again in the loop's thread
            if reason := retried(error):
                log.warning("%s: %s", reason, error)
            else:
                self._failure = error
        finally:
            with self._lock:
                self._busy -= 1
            # Wake the loop only after a delivery or a failure: otherwise another worker holds the due rows.
            if delivered or self._failure:
                self._wake()

    def _drain_over_idle_connection(self) -> int:
        """Drain over an idle connection, or a new one. Returns the number of deliveries."""
        with self._lock:
            drain = self._idle.pop() if self._idle else None
        drain = drain or self._open_drain()
        try:
            delivered, _ = drain.drain_all(self._record_progress_and_check_stopping)
        except BaseException:
            drain.close()
            raise
        with self._lock:
            self._idle.append(drain)
        if self._stopping():
            drain.close()
        return delivered

    def _record_progress_and_check_stopping(self) -> bool:
        self._progressed_at_s = time.monotonic()
        return self._stopping()
