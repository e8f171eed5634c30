"""Lateness in a memory that does not grow with the number of deliveries."""

from __future__ import annotations

from collections import Counter
from math import ceil, log2
from typing import Final

from duetime.checker.latency import RANKS

HOUR_NS: Final = 3600 * 10**9


class Lateness:
    """The distribution of many lengths of time, each kept to one part in `steps` of an octave; the largest exactly."""

    __slots__ = ("_counts", "_max_ns", "_steps", "number")

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._counts: Counter[int] = Counter()
        self._max_ns = 0
        self.number = 0

    def add(self, length_ns: int) -> None:
        self.number += 1
        self._max_ns = max(self._max_ns, length_ns)
        self._counts[int(self._steps * log2(1 + length_ns / 1e6))] += 1

    def merge(self, other: Lateness) -> None:
        """Add what `other`, of the same steps, has counted."""
        self.number += other.number
        self._max_ns = max(self._max_ns, other._max_ns)
        self._counts.update(other._counts)

    def percentiles(self) -> dict[str, float | None]:
        """Percentiles by nearest rank, in seconds; None where nothing was counted."""
        return {name: self._at(rank) for name, rank in RANKS.items()}

    def _at(self, rank: float) -> float | None:
        if not self.number:
            return None
        if rank == 1.0:
            return self._max_ns / 1e9
        below, wanted = 0, ceil(rank * self.number)
        for step in sorted(self._counts):
            below += self._counts[step]
            if below >= wanted:
                # The middle of the step, which for the last one may be above the maximum.
                return min(2 ** ((step + 0.5) / self._steps) - 1, self._max_ns / 1e6) / 1e3
        raise AssertionError("the counts are fewer than their number")


class Hours:
    """Lateness and violations, by the hour in which a notification was due or, if later, accepted."""

    def __init__(self) -> None:
        self.lateness: dict[int, Lateness] = {}
        self.missed: Counter[int] = Counter()

    def add(self, ready_ns: int, length_ns: int) -> None:
        hour = ready_ns // HOUR_NS
        lateness = self.lateness.get(hour)
        if lateness is None:
            lateness = self.lateness[hour] = Lateness(8)
        lateness.add(length_ns)

    def add_missed(self, ready_ns: int) -> None:
        self.missed[ready_ns // HOUR_NS] += 1
