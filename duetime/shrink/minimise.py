"""Delta debugging (Zeller, Hildebrandt 2002): the smallest part of a list that a test still accepts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

First = Callable[[Sequence[Sequence[T]]], int | None]
"""Tests several parts of a list, those that are wanted most first; returns the index of one that it accepts."""

PARTS = 4
"""Into which a list is divided at first: as many can be tested at the same time."""


def minimised(items: Sequence[T], first: First[T]) -> list[T]:
    """A part of `items` that `first` accepts, and from which it accepts no single removal; `items` is accepted."""
    kept = list(items)
    if kept and first([[]]) is not None:
        return []
    parts = min(PARTS, len(kept))
    while len(kept) > 1:
        chunks = _divided(kept, parts)
        # A part of what failed fails most probably, so that chunks are tried at first only. Of two, each is the
        # complement of the other.
        candidates = chunks if parts <= PARTS else []
        complements = [_without(kept, chunk) for chunk in chunks] if parts > 2 else []
        candidates = sorted([*candidates, *complements], key=len)
        found = first(candidates)
        if found is not None:
            is_chunk = candidates[found] not in complements
            kept = candidates[found]
            parts = min(PARTS if is_chunk else max(parts - 1, 2), len(kept))
        elif parts >= len(kept):
            break
        else:
            parts = min(2 * parts, len(kept))
    return kept


def _divided(items: Sequence[T], parts: int) -> list[list[T]]:
    ends = [len(items) * number // parts for number in range(parts + 1)]
    return [list(items[start:end]) for start, end in pairwise(ends)]


def _without(items: Sequence[T], removed: Sequence[T]) -> list[T]:
    gone = set(removed)
    return [item for item in items if item not in gone]
