"""Soundness: the checker reports no violation of a correct design."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duetime.checker import judge_history
from tests.checker.correct_worlds import S, correct_world

WORLDS = 28_000


@pytest.mark.parametrize("seed", range(4))
def test_a_correct_world_has_no_violation(seed: int) -> None:
    random = Random(seed)
    for _ in range(WORLDS // 4):
        world = correct_world(random)

        assert judge_history(world.history()).violations == []


def test_a_correct_world_has_no_violation_wherever_its_files_end() -> None:
    random = Random(5)
    for _ in range(5_000):
        world = correct_world(random, starved=random.random() < 0.5)
        cut = world.until(random.randrange(20 * S), closed=random.random() < 0.5)

        assert judge_history(cut.history()).violations == []


def test_a_correct_world_has_no_violation_when_the_harness_was_starved() -> None:
    random = Random(6)
    for _ in range(5_000):
        assert judge_history(correct_world(random, starved=True).history()).violations == []


@given(st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_correct_world_has_no_violation_in_any_example_of_hypothesis(random: Random, starved: bool) -> None:
    assert judge_history(correct_world(random, starved=starved).history()).violations == []
