"""Generated traffic: notifications that fall due at a steady rate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from duetime.harness.plan.workload import WITHIN_SECOND_S

AHEAD_S = 6
"""How long before its due time a notification is scheduled, so that queues hold it and the page shows it waiting."""
PERIOD_S = 0.25


class Traffic:
    """Schedules events in the background.

    per_second: notifications that fall due in a second; may be changed at any time.
    """

    def __init__(
        self, per_second: float, *, seed: str, now_s: Callable[[], float], schedule: Callable[[float], object]
    ) -> None:
        """now_s: seconds since the start of the session. schedule: creates an event due in that many seconds."""
        self.per_second = per_second
        self._random = Random(seed)
        self._now_s = now_s
        self._schedule = schedule
        self._credit = 0.0
        self._pauses = 0
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._generate, name="traffic", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Generate nothing meanwhile; several callers may pause at once."""
        with self._lock:
            self._pauses += 1
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1

    def _generate(self) -> None:
        while not self._ending.wait(PERIOD_S):
            with self._lock:
                if not self._pauses:
                    self._schedule_next()

    def _schedule_next(self) -> None:
        now_s = self._now_s()
        # After a delay, at most one notification is made up for.
        self._credit = min(self._credit, 1.0) + self.per_second * PERIOD_S
        while self._credit >= 1.0:
            self._credit -= 1.0
            # Away from full seconds, at which pollers poll: late ticks would look like missed notifications.
            due_s = int(now_s) + AHEAD_S + self._random.uniform(*WITHIN_SECOND_S)
            self._schedule(due_s - now_s)
