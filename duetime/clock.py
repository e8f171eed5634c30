"""The clock as an argument.

Only this module calls ``datetime.now``. Other code receives a ``Clock``, so that a unit test can choose the time and
each caller shows which clock it uses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the wall clock of this machine, timezone-aware, in UTC."""
    return datetime.now(UTC)


def utc(at: datetime) -> datetime:
    """Return the same instant in UTC, where adding or subtracting a duration is arithmetic on instants.

    In another zone, ``+`` and ``-`` move the hands of its wall clock, and are an hour off across a change of clocks.

    Raises:
        ValueError: `at` has no time zone.
    """
    if at.utcoffset() is None:
        raise ValueError(
            f"{at.isoformat()} has no time zone; write a timezone-aware datetime, for instance "
            "datetime(2030, 1, 1, 9, 0, tzinfo=UTC)"
        )
    return at.astimezone(UTC)


class Instant(NamedTuple):
    """The same moment on the wall clock and on the monotonic clock, in nanoseconds. Verdicts use the monotonic one."""

    wall_ns: int
    mono_ns: int


READINGS = 20
"""The process can be descheduled between two readings; the closest pair of this many is not affected."""


def instant() -> Instant:
    """Read both clocks at the same moment: the wall clock between two monotonic readings, the closest of several."""
    return min((_reading() for _ in range(READINGS)), key=lambda reading: reading[0])[1]


def _reading() -> tuple[int, Instant]:
    before = time.monotonic_ns()
    wall = time.time_ns()
    after = time.monotonic_ns()
    return after - before, Instant(wall_ns=wall, mono_ns=(before + after) // 2)
