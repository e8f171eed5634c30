"""The search reaches every state of a execution and takes every step from it, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise, permutations
from math import comb

import pytest

from duetime.explore.search import NotDeterministic, Search, random_walk, replay
from duetime.explore.steps import Step


class Counters:
    """Participants that each take so many steps. common: they add to one sum, by a read and a write."""

    def __init__(self, *steps: int, common: bool = False) -> None:
        self._left = dict(enumerate(steps))
        self._steps = steps
        self._common = common
        self.sum, self._read = 0, dict.fromkeys(range(len(steps)), 0)
        self.taken: list[str] = []

    def choices(self) -> Sequence[Step]:
        return [self._step(participant) for participant, left in self._left.items() if left]

    def _step(self, participant: int) -> Step:
        number = self._steps[participant] - self._left[participant]
        return Step(f"p{participant}", 1, number, "statement", f"p{participant} {number}")

    def take(self, step: Step) -> None:
        participant = int(step.participant[1:])
        if self._common and step.number % 2 == 0:
            self._read[participant] = self.sum
        elif self._common:
            self.sum = self._read[participant] + 1
        self._left[participant] -= 1
        self.taken.append(step.label)

    def state(self) -> str:
        return repr((self._left, self.sum, self._read))


def explored(
    make: Callable[[], Counters], search: Search | None = None, most: int = 10_000
) -> tuple[Search, list[Counters]]:
    """Carry out everything; return the executions that were carried out to their end."""
    search = search or Search()
    ended = []
    while search.left and most:
        most -= 1
        execution = make()
        if search.next(execution) is not None:
            ended.append(execution)
    return search, ended


@pytest.mark.parametrize("steps", [(1, 1), (3, 3), (4, 2), (5, 5)])
def test_of_two_participants_every_interleaving_is_counted(steps: tuple[int, int]) -> None:
    search, _ = explored(lambda: Counters(*steps))

    assert search.interleavings() == comb(sum(steps), steps[0])
    assert len(search.after) == (steps[0] + 1) * (steps[1] + 1)
    assert search.done == pytest.approx(1.0)


def test_three_participants() -> None:
    search, _ = explored(lambda: Counters(2, 2, 2))

    assert search.interleavings() == 90  # 6! / (2! 2! 2!)


def test_a_lost_update_is_found() -> None:
    _, ended = explored(lambda: Counters(2, 2, common=True))

    assert {execution.sum for execution in ended} == {1, 2}


def test_the_first_interleaving_never_switches_away_from_who_can_go_on() -> None:
    execution = Counters(2, 2)
    Search().next(execution)

    assert execution.taken == ["p0 0", "p0 1", "p1 0", "p1 1"]


def switches_away(order: Sequence[int]) -> int:
    """How often an order of steps leaves a participant that has steps left."""
    pairs = enumerate(pairwise(order), start=1)
    return sum(before != after and before in order[at:] for at, (before, after) in pairs)


@pytest.mark.parametrize("most", [0, 1, 2, 4])
def test_a_bound_leaves_out_what_switches_more_often(most: int) -> None:
    search, _ = explored(lambda: Counters(3, 3), Search(most_preemptions=most))

    within = {order for order in permutations([0, 0, 0, 1, 1, 1]) if switches_away(order) <= most}
    assert search.interleavings() == len(within)


def test_an_interrupted_search_goes_on_from_its_file() -> None:
    def make() -> Counters:
        return Counters(4, 4, common=True)

    begun, ended = explored(make, most=5)
    again = Search.from_json(json.loads(json.dumps(begun.to_json())))
    finished, rest = explored(make, again)
    whole, all_ended = explored(make)

    assert finished.after == whole.after
    assert finished.interleavings() == whole.interleavings()
    assert [execution.taken for execution in ended + rest] == [execution.taken for execution in all_ended]


def test_a_world_that_does_not_repeat_is_noticed() -> None:
    search = Search()
    search.next(Counters(2, 2))

    with pytest.raises(NotDeterministic, match=r"p1 does not offer 'p1 0' again, but p0"):
        search.next(Counters(2, 0))


def test_a_replay_takes_the_steps_and_then_what_is_left() -> None:
    execution = Counters(2, 2)
    steps = [Step("p1", 1, 0, "statement", "p1 0"), Step("p0", 1, 0, "statement", "p0 0")]

    taken = replay(execution, steps)

    assert [step.label for step in taken] == execution.taken == ["p1 0", "p0 0", "p0 1", "p1 1"]


def test_walks_by_chance_repeat_with_their_seed_and_differ_between_seeds() -> None:
    def walked(seed: int) -> list[str]:
        execution = Counters(4, 4, 4)
        random_walk(execution, seed, depth=12, changes=3)
        return execution.taken

    assert walked(1) == walked(1)
    assert len({tuple(walked(seed)) for seed in range(20)}) > 10
