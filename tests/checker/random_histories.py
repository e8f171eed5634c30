"""Random histories on a coarse clock, so that every boundary is hit often."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from duetime.history import (
    NEVER,
    Canary,
    Closed,
    Delivery,
    History,
    Operation,
    RecordedFault,
    RecordedPlan,
    StoredEntry,
)
from duetime.history.damage import Damage
from duetime.history.records import Answer, Verb

ANSWERS: Sequence[Answer] = ("ok", "ok", "ok", "ok", "info", "fail")
WORKERS = ("worker-1", "worker-2")
VERBS: Sequence[Verb] = ("schedule", "schedule", "cancel")
"""Listed as often as they are to be chosen."""


def plan(
    *, epsilon: int = 1, limit: int = 3, phi: int = 2, recovery: int = 1, recovers_within: int = 0
) -> RecordedPlan:
    return RecordedPlan.from_json(
        {
            "guarantees": {"recovers_within_s": recovers_within * 1e-9},
            "profile": {
                "early_tolerance_s": epsilon * 1e-9,
                "lateness_limit_s": limit * 1e-9,
                "in_flight_allowance_s": phi * 1e-9,
                "recovery_budget_s": {"kill": recovery * 1e-9},
            },
        }
    )


def random_history(random: Random) -> History:
    operations = _operations(random)
    ops = [o.op for o in operations.values() if o.verb == "schedule"] * 3 + [*operations, "k/99"]
    deliveries = sorted(
        Delivery(random.randrange(30), line, random.choice(ops), random.choice(WORKERS), 1)
        for line in range(1, random.randrange(1, 8))
    )
    late = [Canary(n, due, due + random.choice([1, 2, 4])) for n, due in enumerate(random.choices(range(30), k=2))]
    return History(
        plan=plan(
            epsilon=random.randrange(3),
            limit=random.randrange(5),
            phi=random.randrange(4),
            recovery=random.randrange(3),
            recovers_within=random.choice([0, 0, 5, 30]),
        ),
        operations=operations,
        deliveries=deliveries,
        canaries=sorted(late) if random.random() < 0.3 else [Canary(0, 0, 0)],
        faults=[_fault(random, n) for n in range(random.choice([0, 1, 1, 2, 3]))],
        clock=[(0, 0)],
        closed=_closed(random, sorted(set(ops))) if random.random() < 0.8 else None,
        damage=Damage(),
    )


def _closed(random: Random, ops: Sequence[str]) -> Closed:
    """With a store that holds some of `ops`, and workers that ended by themselves."""
    listed = random.random() < 0.9
    restarts = [(random.randrange(30), random.choice(WORKERS), 1) for _ in range(random.choice([0, 0, 1]))]
    return Closed(
        random.randrange(10, 40),
        _entries(random, ops) if listed else None,
        workers_alive=True,
        restarts=tuple(restarts),
        after_stop=_entries(random, ops) if listed and random.random() < 0.9 else None,
        unlisted="" if listed or random.random() < 0.2 else "a queue shows no messages",
        cut_short=random.choice([(), ("worker-2",), None]),
    )


def _entries(random: Random, ops: Sequence[str]) -> dict[str, StoredEntry]:
    states = ("waiting", "held", "held", "failed")
    return {
        op: StoredEntry("row", random.choice(states), random.choice([None, 60.0]))
        for op in ops
        if random.random() < 0.6
    }


def _operations(random: Random) -> dict[str, Operation]:
    found = {}
    for n in range(random.randrange(1, 7)):
        key, invoked = random.choice("kkm"), random.randrange(20)
        answer = random.choice(ANSWERS)
        answered = invoked + random.randrange(6) if answer != "info" or random.random() < 0.5 else NEVER
        verb = random.choice(VERBS)
        due = random.randrange(20) if verb == "schedule" else 0
        operation = Operation(
            f"{key}/{n}", key, n, verb, due, invoked, 2 * n + 1, answer, answered, 2 * n + 2 if answered < NEVER else 0
        )
        found[operation.op] = operation
    return found


def _fault(random: Random, n: int) -> RecordedFault:
    injected = random.randrange(25)
    healed = injected + random.randrange(6) if random.random() < 0.9 else NEVER
    only = random.choice([(), (), ("k",), ("m", "x")])
    observed = injected + random.randrange(3) if random.random() < 0.9 else NEVER
    heal = min(healed, injected + random.randrange(3)) if random.random() < 0.9 else NEVER
    target = random.choice(["all", *WORKERS])
    phases = {"inject": n + 1}
    return RecordedFault(f"f{n}", "kill", target, injected, healed, only, phases, observed_ns=observed, heal_ns=heal)
