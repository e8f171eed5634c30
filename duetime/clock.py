"""Time as an argument.

Only this module may call ``datetime.now``. Everything else is handed a ``Clock``, so a unit test can choose the
instant, and a run can say whose clock it believed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """This machine's wall clock, aware, in UTC."""
    return datetime.now(UTC)


class Instant(NamedTuple):
    """One moment on both axes, in nanoseconds: what a user's clock shows, and what verdicts are judged by."""

    wall_ns: int
    mono_ns: int


READINGS = 20
"""A process can lose the processor between two readings; in the closest of so many it hardly did."""


def instant() -> Instant:
    """Read both clocks as close together as one process can: the wall clock between two monotonic readings."""
    return min((_reading() for _ in range(READINGS)), key=lambda reading: reading[0])[1]


def _reading() -> tuple[int, Instant]:
    before = time.monotonic_ns()
    wall = time.time_ns()
    after = time.monotonic_ns()
    return after - before, Instant(wall_ns=wall, mono_ns=(before + after) // 2)
