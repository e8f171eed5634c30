"""The effect of each rule: without it, the checker reports violations in correct worlds.

Print the table of docs/checker.md: python -m tests.checker.ablations
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

from duetime.checker import judge_history
from duetime.history import NEVER, History, Operation
from tests.checker.correct_worlds import PLAN, World, correct_world

WORLDS = 2_000


def all_rules(world: World) -> History:
    return world.history()


def info_as_ok(world: World) -> History:
    def acknowledged(o: Operation) -> Operation:
        answered = o.answered_ns if o.answered_ns < NEVER else o.invoked_ns
        return replace(o, answer="ok", answered_ns=answered) if o.answer == "info" else o

    return replace(world, operations=tuple(map(acknowledged, world.operations))).history()


def info_as_fail(world: World) -> History:
    def rejected(o: Operation) -> Operation:
        return replace(o, answer="fail") if o.answer == "info" else o

    return replace(world, operations=tuple(map(rejected, world.operations))).history()


def no_in_flight_allowance(world: World) -> History:
    return world.history(replace(PLAN, profile=replace(PLAN.profile, in_flight_allowance_ns=0)))


def no_excused_time(world: World) -> History:
    return replace(world, faults=()).history()


def points(world: World) -> History:
    def point(o: Operation) -> Operation:
        return replace(o, invoked_ns=o.answered_ns) if o.answer == "ok" else o

    return replace(world, operations=tuple(map(point, world.operations))).history()


def one_look_at_the_store(world: World) -> History:
    return replace(world, stored=replace(world.stored, after=world.stored.before, cut_short=())).history()


def no_worker_cut_short(world: World) -> History:
    return replace(world, stored=replace(world.stored, cut_short=())).history()


ABLATIONS: dict[str, Callable[[World], History]] = {
    "none": all_rules,
    "`info` taken for `ok`": info_as_ok,
    "`info` taken for `fail`": info_as_fail,
    "no in-flight allowance (φ = 0)": no_in_flight_allowance,
    "faults excuse nothing": no_excused_time,
    "operations as points, not intervals": points,
    "one look into the store, before the workers stop": one_look_at_the_store,
    "workers that the harness killed count as gone": no_worker_cut_short,
}


def worlds_with_violations(ablate: Callable[[World], History]) -> tuple[int, Counter[str]]:
    """The number of correct worlds with a violation, and the number for each label."""
    random, worlds, labels = Random(1), 0, Counter[str]()
    for _ in range(WORLDS):
        found = {violation.label for violation in judge_history(ablate(correct_world(random))).violations}
        worlds += bool(found)
        labels.update(found)
    return worlds, labels


def table() -> str:
    rows = [f"| rule left out | correct worlds with a violation, of {WORLDS} | violations |", "|---|---|---|"]
    for name, ablate in ABLATIONS.items():
        worlds, labels = worlds_with_violations(ablate)
        found = ", ".join(
            f"{label} in {n}" for label, n in sorted(labels.items(), key=lambda item: (-item[1], item[0]))
        )
        rows.append(f"| {name} | {worlds} | {found or 'none'} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
