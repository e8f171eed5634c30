"""What each rule is for: leave one out, and worlds in which every promise was kept stand accused.

Run it for the table in docs/checker.md: python tests/checker/ablations.py
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


def whole(world: World) -> History:
    return world.history()


def info_as_ok(world: World) -> History:
    def believe(o: Operation) -> Operation:
        answered = o.answered_ns if o.answered_ns < NEVER else o.invoked_ns
        return replace(o, answer="ok", answered_ns=answered) if o.answer == "info" else o

    return replace(world, operations=tuple(map(believe, world.operations))).history()


def info_as_fail(world: World) -> History:
    def dismiss(o: Operation) -> Operation:
        return replace(o, answer="fail") if o.answer == "info" else o

    return replace(world, operations=tuple(map(dismiss, world.operations))).history()


def no_flight(world: World) -> History:
    return world.history(replace(PLAN, profile=replace(PLAN.profile, in_flight_allowance_ns=0)))


def no_excuse(world: World) -> History:
    return replace(world, faults=()).history()


def points(world: World) -> History:
    def shrink(o: Operation) -> Operation:
        return replace(o, invoked_ns=o.answered_ns) if o.answer == "ok" else o

    return replace(world, operations=tuple(map(shrink, world.operations))).history()


ABLATIONS: dict[str, Callable[[World], History]] = {
    "nothing: every rule in place": whole,
    "`info` taken for `ok`": info_as_ok,
    "`info` taken for `fail`": info_as_fail,
    "no in-flight allowance (φ = 0)": no_flight,
    "faults excuse nothing": no_excuse,
    "operations as points, not intervals": points,
}


def accusations(ablate: Callable[[World], History]) -> tuple[int, Counter[str]]:
    """In how many correct worlds anything is accused, and of what."""
    random, accused, labels = Random(1), 0, Counter[str]()
    for _ in range(WORLDS):
        found = {violation.label for violation in judge_history(ablate(correct_world(random))).violations}
        accused += bool(found)
        labels.update(found)
    return accused, labels


def table() -> str:
    rows = [f"| left out | correct worlds accused, of {WORLDS} | of what |", "|---|---|---|"]
    for name, ablate in ABLATIONS.items():
        accused, labels = accusations(ablate)
        what = ", ".join(f"{label} in {n}" for label, n in sorted(labels.items(), key=lambda item: (-item[1], item[0])))
        rows.append(f"| {name} | {accused} | {what or 'nothing'} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
