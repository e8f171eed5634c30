"""Completeness: spoil one thing in a world where every promise was kept, and it is always noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest

from duetime.checker import Results, judge_history
from duetime.history import NEVER, Delivery, Operation
from tests.checker.correct_worlds import EPSILON, LIMIT, PHI, S, World, correct_world
from tests.checker.naive_checker import Naive, after

WORLDS = 3_000
Spoilt = tuple[str, World]
"""The op that must be accused, in the world that must be found out."""


def drop_a_required_delivery(world: World, _: Random) -> Iterator[Spoilt]:
    naive = Naive(world.history())
    for o in _acknowledged(world):
        if naive.required(o):
            yield o.op, replace(world, deliveries=tuple(d for d in world.deliveries if d.op != o.op))


def deliver_twice(world: World, random: Random) -> Iterator[Spoilt]:
    for d in world.deliveries:
        yield d.op, _more(world, d._replace(at_ns=d.at_ns + random.choice([0, 1, random.randrange(5 * S)])))


def deliver_early(world: World, random: Random) -> Iterator[Spoilt]:
    for d in world.deliveries:
        at_ns = _scheduled(world)[d.op].due_ns - random.choice([EPSILON + 1, S // 5])
        yield d.op, _moved(world, d, at_ns)


def deliver_what_nobody_scheduled(world: World, random: Random) -> Iterator[Spoilt]:
    refused = [o.op for o in world.operations if o.answer == "fail" or o.verb == "cancel"]
    for op in ["stranger/1", f"{world.operations[0].key}/99", *refused]:
        yield op, _more(world, Delivery(random.randrange(10 * S), 0, op, "worker-1", 1))


def deliver_before_it_is_asked_for(world: World, random: Random) -> Iterator[Spoilt]:
    for d in world.deliveries:
        yield d.op, _moved(world, d, _scheduled(world)[d.op].invoked_ns - random.choice([1, S]))


def deliver_past_the_healthy_deadline(world: World, random: Random) -> Iterator[Spoilt]:
    for d in world.deliveries:
        o = _scheduled(world)[d.op]
        if o.answer == "ok":
            late = after(max(o.due_ns, o.answered_ns), LIMIT + random.choice([1, S]), world.frozen)
            yield d.op, _moved(world, d, late)


def deliver_after_a_cancel(world: World, random: Random) -> Iterator[Spoilt]:
    yield from _outlived(world, random, verb="cancel")


def deliver_after_a_newer_revision(world: World, random: Random) -> Iterator[Spoilt]:
    yield from _outlived(world, random, verb="schedule")


def _outlived(world: World, random: Random, *, verb: str) -> Iterator[Spoilt]:
    naive = Naive(world.history())
    for o in _acknowledged(world):
        since, by = naive.superseded(o)
        if since < NEVER and by == verb:
            at_ns = after(since, PHI + random.choice([1, S]), world.frozen)
            yield o.op, _more(world, Delivery(at_ns, 0, o.op, "worker-1", 1))


MUTATIONS: dict[Callable[[World, Random], Iterator[Spoilt]], str] = {
    drop_a_required_delivery: "missed",
    deliver_twice: "duplicate",
    deliver_early: "early",
    deliver_what_nobody_scheduled: "phantom",
    deliver_before_it_is_asked_for: "phantom",
    deliver_past_the_healthy_deadline: "late",
    deliver_after_a_cancel: "phantom",
    deliver_after_a_newer_revision: "stale",
}


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_a_spoilt_world_is_always_caught(mutate: Callable[[World, Random], Iterator[Spoilt]]) -> None:
    random, caught = Random(7), 0
    for _ in range(WORLDS):
        for op, spoilt in mutate(correct_world(random), random):
            results = judge_history(spoilt.history())

            assert results.outcome == "fail"
            assert MUTATIONS[mutate] in _said_of(op, results)
            caught += 1

    assert caught > WORLDS / 20


def _said_of(op: str, results: Results) -> set[str]:
    """Labels first and secondary: a duplicate that also comes after a cancel is a phantom first."""
    labels = {label for found in results.labelled if found.delivery.op == op for label in (found.label, *found.also)}
    return labels | {results.states.get(op, "none")}


def _acknowledged(world: World) -> list[Operation]:
    return [o for o in world.operations if o.verb == "schedule" and o.answer == "ok"]


def _scheduled(world: World) -> dict[str, Operation]:
    return {o.op: o for o in world.operations if o.verb == "schedule"}


def _more(world: World, delivery: Delivery) -> World:
    closed_ns = max(world.closed_ns or 0, delivery.at_ns)
    return replace(world, deliveries=(*world.deliveries, delivery), closed_ns=closed_ns)


def _moved(world: World, delivery: Delivery, at_ns: int) -> World:
    others = tuple(d for d in world.deliveries if d is not delivery)
    return _more(replace(world, deliveries=others), delivery._replace(at_ns=at_ns))
