"""Notices that the machine slept, or that every process stood still.

In such a period no worker could deliver, and no fault was injected that would excuse it. A run that contains one proves
nothing about a design.
"""

from __future__ import annotations

from collections.abc import Callable

from duetime.clock import Instant, instant

STEP_S = 1.0
"""The monotonic clock of Linux and macOS stands still while the machine sleeps, and the wall clock does not."""
FROZEN_S = 5.0
"""Longer than a busy machine makes a thread wait; a frozen container or virtual machine has both clocks go on."""


class SleepWatch:
    """Compares readings of both clocks. period_s: between two calls of `slept_s`. read: reads both clocks."""

    def __init__(self, *, period_s: float, read: Callable[[], Instant] = instant) -> None:
        self._period_s = period_s
        self._read = read
        self._last = read()

    def slept_s(self) -> float:
        """Return for how many seconds the machine slept since the last call, or its clock jumped; 0 if it did not.

        Negative if the clock jumped back.
        """
        before, now = self._last, self._read()
        self._last = now
        mono_s = (now.mono_ns - before.mono_ns) / 1e9
        step_s = (now.wall_ns - before.wall_ns) / 1e9 - mono_s
        if abs(step_s) > STEP_S:
            return step_s
        frozen_s = mono_s - self._period_s
        return frozen_s if frozen_s > FROZEN_S else 0.0

    def start_over(self) -> None:
        """Forget the time until now."""
        self._last = self._read()
