"""The allowance for a database server whose clock is not the harness's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duetime.history.records import DatabaseClock


@dataclass(frozen=True, slots=True)
class OtherClock:
    """How far the clock of the database server may have been ahead and behind during a run; zero if it is the same.

    A design that delivers by that clock is early by `ahead_ns` and late by `behind_ns`, and correct.
    beyond_tolerance: True if the difference, or its change during the run, is more than the early tolerance.
    """

    ahead_ns: int = 0
    behind_ns: int = 0
    changed_ns: int = 0
    beyond_tolerance: bool = False

    @classmethod
    def of(cls, readings: Sequence[DatabaseClock], tolerance_ns: int) -> OtherClock:
        if not readings:
            return cls()
        ahead_ns = max(0, *(reading.ahead_ns + reading.uncertainty_ns for reading in readings))
        behind_ns = max(0, *(reading.uncertainty_ns - reading.ahead_ns for reading in readings))
        offsets = [reading.ahead_ns for reading in readings]
        changed_ns = max(offsets) - min(offsets)
        beyond = max(ahead_ns, behind_ns, changed_ns) > tolerance_ns
        return cls(ahead_ns, behind_ns, changed_ns, beyond)
