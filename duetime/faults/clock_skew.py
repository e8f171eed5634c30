"""A wrong wall clock of one worker, while the worker runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from duetime.faults.fault import FaultNotVerified, Sleeper
from duetime.faults.mechanisms.faketime import PRECISE_S, SkewedClock, library_is_loaded


class ClockSkew:
    """Sets `clock` wrong by `offset_s`; `pids` returns the processes of the worker that was started with it."""

    def __init__(self, clock: SkewedClock, offset_s: float, pids: Callable[[], Sequence[int]]) -> None:
        self._clock = clock
        self._offset_s = offset_s
        self._pids = pids

    def prepare(self, _stop: Sleeper) -> str:
        return f"the worker's wall clock is set wrong by {self._offset_s:+g} s; its monotonic clock stays correct"

    def inject(self) -> None:
        self._clock.set(self._offset_s)

    def verify_injected(self, _stop: Sleeper) -> str:
        pids = self._pids()
        measured_s = self._clock.measure()
        wrong = abs(measured_s - self._offset_s) > PRECISE_S
        if wrong or not pids or not all(library_is_loaded(pid) for pid in pids):
            raise FaultNotVerified(f"the clock was {measured_s:+.3f} s off, in {len(pids)} processes")
        return f"the clock is {measured_s:+.3f} s off in a probe; {len(pids)} processes of the worker use it"

    def heal(self) -> None:
        self._clock.set(0.0)

    def verify_healed(self, _stop: Sleeper) -> str:
        measured_s = self._clock.measure()
        if abs(measured_s) > PRECISE_S:
            raise FaultNotVerified(f"the clock was still {measured_s:+.3f} s off")
        return f"the clock is {measured_s:+.3f} s off in a probe"
