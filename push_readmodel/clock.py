"""PostgreSQL's clock, which decides what is due, as this process can know it."""

from __future__ import annotations

from datetime import datetime
from math import inf

DRIFTS = 0.0002
"""Seconds in a second by which two clocks may part."""
WAS_SET_S = 0.002
"""A difference that is no drift: somebody has set a clock."""


class DatabaseClock:
    """An answer is as old as its way here, so of all readings the quickest counts; the later ones let it drift.

    After somebody has set a clock back by less than `WAS_SET_S`, or while clocks drift apart faster than `DRIFTS`, what
    it says may be early, by `WAS_SET_S` at most.
    """

    def __init__(self) -> None:
        self._began_s = inf
        self._read_at_s = 0.0

    def read(self, shown: float, at_s: float) -> None:
        """It showed `shown`, in seconds since 1970, and that was known here at `at_s`, by ``time.monotonic()``."""
        began_s = at_s - shown
        drifted_s = self._began_s + DRIFTS * (at_s - self._read_at_s)
        self._began_s = began_s if began_s - drifted_s > WAS_SET_S else min(began_s, drifted_s)
        self._read_at_s = at_s

    def at_s(self, when: datetime) -> float:
        """When it will show `when`, by ``time.monotonic()``."""
        return self._began_s + when.timestamp()
