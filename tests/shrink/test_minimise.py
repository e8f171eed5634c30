"""The part of a list that is left: small enough, and found in few tests."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from duetime.shrink.minimise import minimised


@given(st.integers(0, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(0, n - 1)), max_size=n))))
def test_exactly_what_is_needed_together_is_left(world: tuple[int, set[int]]) -> None:
    length, needed = world
    needed &= set(range(length))

    def first(parts: Sequence[Sequence[int]]) -> int | None:
        return next((i for i, part in enumerate(parts) if needed <= set(part)), None)

    assert set(minimised(range(length), first)) == needed


@given(st.lists(st.sets(st.integers(0, 19), min_size=1, max_size=4), min_size=1, max_size=4))
def test_nothing_more_can_be_taken_away_where_several_parts_would_do(alternatives: list[set[int]]) -> None:
    def accepts(part: Sequence[int]) -> bool:
        return any(each <= set(part) for each in alternatives)

    def first(parts: Sequence[Sequence[int]]) -> int | None:
        return next((i for i, part in enumerate(parts) if accepts(part)), None)

    kept = minimised(range(20), first)

    assert accepts(kept)
    assert not any(accepts([item for item in kept if item != left_out]) for left_out in kept)


def test_one_of_a_hundred_is_found_in_few_steps() -> None:
    steps: list[int] = []

    def first(parts: Sequence[Sequence[int]]) -> int | None:
        steps.append(len(parts))
        return next((i for i, part in enumerate(parts) if 73 in part), None)

    assert minimised(range(100), first) == [73]
    assert len(steps) < 8
