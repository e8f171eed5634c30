"""This process's estimate of the database server's clock, which decides what is due."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from math import inf

DRIFT = 0.0002
"""The assumed maximum drift between two clocks, in seconds per second."""
CLOCK_SET_S = 0.002
"""A larger jump than this is not drift: a clock was set."""
BUSY_WAIT_S = 0.0003
"""Busy-wait this long, because `sleep()` overshoots by about as much."""


class DatabaseClock:
    """Estimates the offset between the database's clock and ``time.monotonic()``.

    A reading arrives late by the network delay, so the smallest offset is the most accurate. The estimate may grow by
    `DRIFT` per second; a reading above that by more than `CLOCK_SET_S` means that a clock was set, and replaces it.
    The estimate can be early by `CLOCK_SET_S` at most: after a clock was set back by less than that, or while clocks
    drift apart faster than `DRIFT`.
    """

    def __init__(self) -> None:
        self._offset_s = inf
        self._read_at_s = 0.0

    def record(self, database_s: float, at_s: float) -> None:
        """Record that the database showed `database_s`, in seconds since 1970, at `at_s` of ``time.monotonic()``."""
        offset_s = at_s - database_s
        drifted_s = self._offset_s + DRIFT * (at_s - self._read_at_s)
        self._offset_s = offset_s if offset_s - drifted_s > CLOCK_SET_S else min(offset_s, drifted_s)
        self._read_at_s = at_s

    def monotonic_s(self, when: datetime) -> float:
        """Return the ``time.monotonic()`` at which the database's clock shows `when`."""
        return self._offset_s + when.timestamp()

    def wait_until(self, when: datetime, stopping: Callable[[], bool]) -> bool:
        """Sleep until the database's clock shows `when`. Returns False if `stopping` ended the wait."""
        at_s = self.monotonic_s(when)
        while (left_s := at_s - time.monotonic()) > 0:
            if stopping():
                return False
            if left_s > BUSY_WAIT_S:
                time.sleep(min(left_s - BUSY_WAIT_S, 0.1))
        return True
