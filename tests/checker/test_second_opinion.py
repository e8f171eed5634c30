"""The checker agrees with a second, naive one on random histories."""

from __future__ import annotations

from random import Random

import pytest

from duetime.checker import judge_history
from tests.checker.naive_checker import Naive
from tests.checker.random_histories import random_history

HISTORIES = 24_000


@pytest.mark.parametrize("seed", range(4))
def test_both_checkers_agree_on_every_history(seed: int) -> None:
    random = Random(seed)
    for _ in range(HISTORIES // 4):
        history = random_history(random)
        naive = Naive(history)

        results = judge_history(history)

        assert {found.delivery.line: [found.label, *found.also] for found in results.labelled} == naive.labels()
        assert results.states == naive.states()
