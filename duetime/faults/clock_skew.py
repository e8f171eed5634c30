"""One server's clock wrong by some seconds, while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from duetime.faults.fault import FaultNotVerified, Sleeper
from duetime.faults.mechanisms.faketime import PRECISE_S, SkewedClock, library_is_loaded


class ClockSkew:
    """`clock` wrong by `by_s`; `pids` gives the processes of the server that was started with it."""

    def __init__(self, clock: SkewedClock, by_s: float, pids: Callable[[], Sequence[int]]) -> None:
        self._clock = clock
        self._by_s = by_s
        self._pids = pids

    def prepare(self, _stop: Sleeper) -> str:
        return f"the server's wall clock is moved by {self._by_s:+g} s; its monotonic clock stays true"

    def inject(self) -> None:
        self._clock.set(self._by_s)

    def verify_injected(self, _stop: Sleeper) -> str:
        pids = self._pids()
        measured_s = self._clock.measure()
        if abs(measured_s - self._by_s) > PRECISE_S or not pids or not all(library_is_loaded(pid) for pid in pids):
            raise FaultNotVerified(f"the clock was {measured_s:+.3f} s off, in {len(pids)} processes")
        return f"a process with this clock is {measured_s:+.3f} s off; {len(pids)} processes of the server have it"

    def heal(self) -> None:
        self._clock.set(0.0)

    def verify_healed(self, _stop: Sleeper) -> str:
        measured_s = self._clock.measure()
        if abs(measured_s) > PRECISE_S:
            raise FaultNotVerified(f"the clock was still {measured_s:+.3f} s off")
        return f"a process with this clock is {measured_s:+.3f} s off"
