"""Soundness: a design that keeps its promises is never accused, whatever the world does to it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duetime.checker import judge_history
from tests.checker.correct_worlds import S, correct_world

WORLDS = 28_000


@pytest.mark.parametrize("seed", range(4))
def test_a_correct_world_is_never_accused(seed: int) -> None:
    random = Random(seed)
    for _ in range(WORLDS // 4):
        world = correct_world(random)

        assert judge_history(world.history()).violations == []


def test_a_correct_world_is_never_accused_when_its_files_end_anywhere() -> None:
    random = Random(5)
    for _ in range(5_000):
        world = correct_world(random, starved=random.random() < 0.5)
        cut = world.until(random.randrange(20 * S), closed=random.random() < 0.5)

        assert judge_history(cut.history()).violations == []


def test_a_correct_world_is_never_accused_of_the_moments_in_which_the_harness_stood_still() -> None:
    random = Random(6)
    for _ in range(5_000):
        assert judge_history(correct_world(random, starved=True).history()).violations == []


@given(st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_correct_world_is_never_accused_wherever_hypothesis_looks(random: Random, starved: bool) -> None:
    assert judge_history(correct_world(random, starved=starved).history()).violations == []
