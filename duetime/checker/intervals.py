"""Unions of intervals, and the time outside them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate

from duetime.history import NEVER

Interval = tuple[int, int]


class Intervals:
    """A union of closed intervals, in nanoseconds; each method takes logarithmic time.

    Time outside the union is called healthy. An interval that ends at `NEVER` has no end.
    """

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self._merged = _union(intervals)
        self._starts = [start for start, _ in self._merged]
        self._ends = [end for _, end in self._merged]
        lengths = (end - start for start, end in self._merged)
        self._inside_before = list(accumulate(lengths, initial=0))
        self._healthy_at_start = [
            start - inside for start, inside in zip(self._starts, self._inside_before, strict=False)
        ]

    def __bool__(self) -> bool:
        return bool(self._merged)

    def __or__(self, other: Intervals) -> Intervals:
        return Intervals([*self._merged, *other._merged])

    def healthy(self, start: int, end: int) -> int:
        """The length of [start, end] outside the union; 0 if `end` is not after `start`."""
        if end <= start:
            return 0
        if not self._merged:
            return end - start
        return end - start - self._inside(end) + self._inside(start)

    def after(self, start: int, healthy: int) -> int:
        """The earliest instant at which `healthy` nanoseconds outside the union have passed since `start`."""
        if not self._merged:
            return start + healthy
        target = start - self._inside(start) + healthy
        passed = bisect_left(self._healthy_at_start, target)
        if passed and self._ends[passed - 1] == NEVER:
            return NEVER
        return max(start, target + self._inside_before[passed])

    def overlap(self, start: int, end: int) -> Interval | None:
        """The first interval that shares an instant with [start, end], or None."""
        at = bisect_left(self._ends, start)
        return self._merged[at] if at < len(self._merged) and self._starts[at] <= end else None

    def _inside(self, instant: int) -> int:
        """The length of the part of the union before `instant`."""
        at = bisect_right(self._starts, instant)
        if not at:
            return 0
        return self._inside_before[at - 1] + min(instant, self._ends[at - 1]) - self._starts[at - 1]


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
