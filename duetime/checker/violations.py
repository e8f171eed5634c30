"""Accusations with their evidence, ready to be read and looked up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from duetime.checker.explain import Narrator
from duetime.checker.labels import ACCUSATIONS, Accusation, Labelled
from duetime.checker.obligations import Promise
from duetime.checker.states import State
from duetime.history import Delivery, Fault, History, Operation


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One accusation.

    at_ns: of the delivery; for a missed one, its deadline. evidence: files and line numbers, as ``history.jsonl:12``.
    """

    op: str
    label: str
    at_ns: int
    evidence: list[str]
    explanation: str


def anomalies(
    history: History,
    promises: Mapping[str, Promise],
    states: Mapping[str, State],
    labelled: Iterable[Labelled],
) -> list[Anomaly]:
    """In the order of their instants."""
    narrator = Narrator(history)
    pending = (history.closed.pending if history.closed else None) or {}
    found = [_missed(promises[op], pending.get(op), narrator) for op, state in states.items() if state == "missed"]
    found += [_accused(one, narrator) for one in labelled if one.label in ACCUSATIONS]
    return sorted(found, key=lambda anomaly: (anomaly.at_ns, anomaly.op, anomaly.label))


def _missed(promise: Promise, where: str | None, narrator: Narrator) -> Anomaly:
    o = promise.operation
    faults = narrator.faults(o.key, o.due_ns, promise.deadline_ns)
    explanation = narrator.missed(promise, where, faults)
    return Anomaly(o.op, "missed", promise.deadline_ns, list(_evidence([o], [], faults)), explanation)


def _accused(found: Labelled, narrator: Narrator) -> Anomaly:
    accusation, delivery, promise = cast("Accusation", found.label), found.delivery, found.promise
    rule = narrator.rule(accusation, found)
    faults = narrator.faults(delivery.op, rule.since_ns, delivery.at_ns)
    operations = [promise.operation] if promise else []
    if promise and promise.superseded_by and accusation in ("phantom", "stale"):
        operations.append(promise.superseded_by)
    deliveries = [found.first, delivery] if accusation == "duplicate" else [delivery]
    evidence = list(_evidence(operations, deliveries, faults))
    return Anomaly(delivery.op, accusation, delivery.at_ns, evidence, narrator.accused(rule, found, faults))


def _evidence(
    operations: Iterable[Operation], deliveries: Iterable[Delivery], faults: Iterable[Fault]
) -> Iterator[str]:
    yield from (f"history.jsonl:{line}" for o in operations for line in (o.line, o.answered_line) if line)
    yield from (f"deliveries.jsonl:{delivery.line}" for delivery in deliveries)
    yield from (f"faults.jsonl:{line}" for fault in faults for line in sorted(fault.phases.values()))
