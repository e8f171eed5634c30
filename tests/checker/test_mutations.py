"""Completeness: the checker catches every mutation of a correct world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest

from duetime.checker import Results, judge_history
from duetime.history import NEVER, Delivery, Operation, RecordedFault, StoredEntry
from tests.checker.correct_worlds import EPSILON, LIMIT, PHI, S, Stored, World, correct_world
from tests.checker.naive_checker import Naive, after

WORLDS = 3_000
Mutated = tuple[str, World]
"""The op with a violation, and the world that contains it."""


def drop_a_required_delivery(world: World, _: Random) -> Iterator[Mutated]:
    naive = Naive(world.history())
    for o in _acknowledged(world):
        if naive.required(o):
            yield o.op, replace(world, deliveries=tuple(d for d in world.deliveries if d.op != o.op))


def deliver_twice(world: World, random: Random) -> Iterator[Mutated]:
    for d in world.deliveries:
        yield d.op, _with(world, d._replace(at_ns=d.at_ns + random.choice([0, 1, random.randrange(5 * S)])))


def deliver_early(world: World, random: Random) -> Iterator[Mutated]:
    for d in world.deliveries:
        at_ns = _scheduled(world)[d.op].due_ns - random.choice([EPSILON + 1, S // 5])
        yield d.op, _moved(world, d, at_ns)


def deliver_an_unscheduled_op(world: World, random: Random) -> Iterator[Mutated]:
    refused = [o.op for o in world.operations if o.answer == "fail" or o.verb == "cancel"]
    for op in ["unknown/1", f"{world.operations[0].key}/99", *refused]:
        yield op, _with(world, Delivery(random.randrange(10 * S), 0, op, "worker-1", 1))


def deliver_before_the_schedule_call(world: World, random: Random) -> Iterator[Mutated]:
    for d in world.deliveries:
        yield d.op, _moved(world, d, _scheduled(world)[d.op].invoked_ns - random.choice([1, S]))


def deliver_past_the_healthy_deadline(world: World, random: Random) -> Iterator[Mutated]:
    for d in world.deliveries:
        o = _scheduled(world)[d.op]
        if o.answer == "ok":
            late = after(max(o.due_ns, o.answered_ns), LIMIT + random.choice([1, S]), world.excused)
            yield d.op, _moved(world, d, late)


def deliver_after_a_cancel(world: World, random: Random) -> Iterator[Mutated]:
    yield from _delivered_after(world, random, verb="cancel")


def deliver_after_a_newer_revision(world: World, random: Random) -> Iterator[Mutated]:
    yield from _delivered_after(world, random, verb="schedule")


def leave_a_delivery_in_the_store(world: World, random: Random) -> Iterator[Mutated]:
    """Its worker was killed before it acknowledged, or all workers ended and left it."""
    for d in world.deliveries:
        if _is_last(world, d.op):
            left = random.choice([StoredEntry("row", "held", 60.0), StoredEntry("row", "waiting")])
            killed = replace(world, stored=Stored({d.op: left}, {d.op: left}, ("worker-2",)))
            kill = RecordedFault(
                "k", "kill", d.worker, d.at_ns, d.at_ns + 2, observed_ns=d.at_ns + 1, heal_ns=d.at_ns + 2
            )
            yield d.op, replace(killed, faults=(*world.faults, kill))
            yield d.op, replace(world, stored=Stored({d.op: left}, {d.op: left}))


def _is_last(world: World, op: str) -> bool:
    """Return True if no other operation of the key may have taken effect later."""
    o = _scheduled(world)[op]
    others = [p for p in world.operations if p.key == o.key and p is not o and p.answer != "fail"]
    return all(p.end_ns < o.invoked_ns for p in others)


def _delivered_after(world: World, random: Random, *, verb: str) -> Iterator[Mutated]:
    naive = Naive(world.history())
    for o in _acknowledged(world):
        since, by = naive.superseded(o)
        if since < NEVER and by == verb:
            at_ns = after(since, PHI + random.choice([1, S]), world.excused)
            yield o.op, _with(world, Delivery(at_ns, 0, o.op, "worker-1", 1))


MUTATIONS: dict[Callable[[World, Random], Iterator[Mutated]], str] = {
    drop_a_required_delivery: "missed",
    deliver_twice: "duplicate",
    deliver_early: "early",
    deliver_an_unscheduled_op: "phantom",
    deliver_before_the_schedule_call: "phantom",
    deliver_past_the_healthy_deadline: "late",
    deliver_after_a_cancel: "phantom",
    deliver_after_a_newer_revision: "stale",
    leave_a_delivery_in_the_store: "will_repeat",
}


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_every_mutation_of_a_correct_world_is_caught(mutate: Callable[[World, Random], Iterator[Mutated]]) -> None:
    random, caught = Random(7), 0
    for _ in range(WORLDS):
        for op, mutated in mutate(correct_world(random), random):
            results = judge_history(mutated.history())

            assert results.outcome == "fail"
            assert MUTATIONS[mutate] in _labels_and_state(op, results)
            caught += 1

    assert caught > WORLDS / 20


def _labels_and_state(op: str, results: Results) -> set[str]:
    """All labels of the op, because a duplicate after a cancel is labelled phantom first."""
    labels = {label for found in results.labelled if found.delivery.op == op for label in (found.label, *found.also)}
    return labels | {results.states.get(op, "none")}


def _acknowledged(world: World) -> list[Operation]:
    return [o for o in world.operations if o.verb == "schedule" and o.answer == "ok"]


def _scheduled(world: World) -> dict[str, Operation]:
    return {o.op: o for o in world.operations if o.verb == "schedule"}


def _with(world: World, delivery: Delivery) -> World:
    closed_ns = max(world.closed_ns or 0, delivery.at_ns)
    return replace(world, deliveries=(*world.deliveries, delivery), closed_ns=closed_ns)


def _moved(world: World, delivery: Delivery, at_ns: int) -> World:
    others = tuple(d for d in world.deliveries if d is not delivery)
    return _with(replace(world, deliveries=others), delivery._replace(at_ns=at_ns))
