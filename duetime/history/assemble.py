"""Build a `History` from the records of all files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from sys import intern
from typing import Any, TypeVar

from duetime.history.damage import Damage
from duetime.history.format import current_kind
from duetime.history.pairing import HISTORY, pair
from duetime.history.records import (
    MALFORMED,
    NEVER,
    Canary,
    Closed,
    DatabaseClock,
    Delivery,
    Operation,
    RecordedFault,
    RecordedPlan,
    require_int,
)

T = TypeVar("T")
Numbered = Iterable[tuple[int, Any]]
"""Line numbers, from 1, each with the parsed record of the line."""

DELIVERIES, FAULTS, CLOCK = "deliveries.jsonl", "faults.jsonl", "clock.jsonl"
FILES = (HISTORY, DELIVERIES, FAULTS, CLOCK)


@dataclass(slots=True)
class History:
    """Everything that the checker knows about a run.

    operations: by op, in the order of their invocations. deliveries: sorted by time, then by line.
    clock: pairs of wall and monotonic time. closed: None if the harness did not close the run.
    database_clock: readings of a database server of the user's own; empty if it shared the harness's clock.
    """

    plan: RecordedPlan
    operations: dict[str, Operation]
    deliveries: list[Delivery]
    canaries: list[Canary]
    faults: list[RecordedFault]
    clock: list[tuple[int, int]]
    closed: Closed | None
    damage: Damage
    database_clock: list[DatabaseClock] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        return self.damage.problems

    @property
    def started_ns(self) -> int:
        """The start of the run: from the plan, or else the first invocation."""
        if self.plan.started_ns is not None:
            return self.plan.started_ns
        return min((o.invoked_ns for o in self.operations.values()), default=0)


def assemble(
    plan: RecordedPlan, *, lines: Mapping[str, Numbered], closed: Closed | None = None, damage: Damage | None = None
) -> History:
    """Assemble the records of each file. A malformed record is skipped and added to `damage`."""
    damage = damage or Damage()
    operations = pair(lines.get(HISTORY, ()), damage)
    deliveries: list[Delivery] = []
    canaries: list[Canary] = []
    for delivery in _parsed(DELIVERIES, partial(_delivery, operations), lines, damage):
        if isinstance(delivery, Canary):
            canaries.append(delivery)
        else:
            deliveries.append(delivery)
    deliveries.sort()
    canaries.sort()
    faults = _faults(_parsed(FAULTS, _phase, lines, damage))
    samples = list(_parsed(CLOCK, _sample, lines, damage))
    clock = [pair for pair, _ in samples]
    database_clock = [reading for _, reading in samples if reading]
    return History(plan, operations, deliveries, canaries, faults, clock, closed, damage, database_clock)


def _parsed(file: str, parse: Callable[[int, Any], T], lines: Mapping[str, Numbered], damage: Damage) -> Iterator[T]:
    for line, record in lines.get(file, ()):
        try:
            parsed = parse(line, record)
        except MALFORMED as error:
            damage.add_incomplete(file, f" line {line} cannot be used: {type(error).__name__} {error}")
        else:
            yield parsed


def _delivery(operations: Mapping[str, Operation], line: int, record: Mapping[str, Any]) -> Delivery | Canary:
    at_ns, op, worker = require_int(record["at_ns"]), record["op"], record["worker"]
    if worker == "canary":
        return Canary(require_int(record["revision"]), require_int(record["due_ns"]), at_ns)
    if op != f"{record['key']}/{record['revision']}":
        raise ValueError(f"op {op!r} is not key {record['key']!r} and revision {record['revision']}")
    # Share the strings that exist already: a large run has a million deliveries.
    operation = operations.get(op)
    worker = intern(worker) if type(worker) is str else worker
    return Delivery(at_ns, line, operation.op if operation else op, worker, record.get("attempt", 1))


def _phase(line: int, record: Mapping[str, Any]) -> tuple[int, int, Mapping[str, Any]]:
    if record["phase"] not in ("inject", "observed", "heal", "healed"):
        raise ValueError(f"phase {record['phase']!r} is none of inject, observed, heal, healed")
    only = tuple(str(prefix) for prefix in record.get("only", ()))
    names = {name: str(record[name]) for name in ("fault", "kind", "target", "phase")}
    names["kind"] = current_kind(names["kind"])
    strike = record.get("delivery", {})
    measured = [strike, *strike.get("others", ())] if strike else []
    in_flight = frozenset(str(one["op"]) for one in measured if "op" in one and one.get("phase") != "before")
    hit = {name: str(strike.get(key, "")) for name, key in (("hit", "phase"), ("worker", "worker"))}
    lost_since_ns = require_int(record["lost"]["since_ns"]) if "lost" in record else NEVER
    found = {**names, **hit, "only": only, "in_flight": in_flight, "lost_since_ns": lost_since_ns}
    return require_int(record["at_ns"]), line, found


def _sample(_: int, record: Mapping[str, Any]) -> tuple[tuple[int, int], DatabaseClock | None]:
    pair = require_int(record["wall_ns"]), require_int(record["mono_ns"])
    if "database_ahead_ns" not in record:
        return pair, None
    return pair, DatabaseClock(require_int(record["database_ahead_ns"]), require_int(record["uncertainty_ns"]))


def _faults(phases: Iterable[tuple[int, int, Mapping[str, Any]]]) -> list[RecordedFault]:
    """One fault for each name, in force from its first injection until the heal of its last."""
    faults: dict[str, RecordedFault] = {}
    for at_ns, line, record in sorted(phases, key=lambda phase: phase[:2]):
        name, phase = record["fault"], record["phase"]
        fault = faults.setdefault(name, RecordedFault(name, record["kind"], record["target"], only=record["only"]))
        fault.phases.setdefault(phase, line)
        fault.hit = record["hit"] or fault.hit
        fault.worker = record["worker"] or fault.worker
        fault.in_flight |= record["in_flight"]
        fault.lost_since_ns = min(fault.lost_since_ns, record["lost_since_ns"])
        if phase == "inject":
            fault.injected_ns = min(fault.injected_ns, at_ns)
            fault.healed_ns = NEVER
        elif phase == "observed":
            fault.observed_ns = min(fault.observed_ns, at_ns)
        elif phase == "heal":
            fault.heal_ns = min(fault.heal_ns, at_ns)
        else:
            fault.healed_ns = at_ns
    return list(faults.values())
