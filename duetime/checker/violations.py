"""Accusations with their evidence, ready to be read and looked up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from duetime.checker.explain import Narrator
from duetime.checker.labels import DELIVERY_VIOLATIONS, DeliveryViolation, Labelled
from duetime.checker.obligations import Obligation
from duetime.checker.states import State
from duetime.history import Delivery, History, Operation, RecordedFault


@dataclass(frozen=True, slots=True)
class Violation:
    """One accusation.

    at_ns: of the delivery; for a missed one, its deadline. evidence: files and line numbers, as ``history.jsonl:12``.
    """

    op: str
    label: str
    at_ns: int
    evidence: list[str]
    explanation: str


def violations(
    history: History,
    obligations: Mapping[str, Obligation],
    states: Mapping[str, State],
    labelled: Iterable[Labelled],
) -> list[Violation]:
    """In the order of their instants."""
    narrator = Narrator(history)
    pending = (history.closed.pending if history.closed else None) or {}
    found = [_missed(obligations[op], pending.get(op), narrator) for op, state in states.items() if state == "missed"]
    found += [_accused(one, narrator) for one in labelled if one.label in DELIVERY_VIOLATIONS]
    return sorted(found, key=lambda violation: (violation.at_ns, violation.op, violation.label))


def _missed(obligation: Obligation, where: str | None, narrator: Narrator) -> Violation:
    o = obligation.operation
    faults = narrator.faults(o.key, o.due_ns, obligation.deadline_ns)
    explanation = narrator.missed(obligation, where, faults)
    return Violation(o.op, "missed", obligation.deadline_ns, list(_evidence([o], [], faults)), explanation)


def _accused(found: Labelled, narrator: Narrator) -> Violation:
    accusation, delivery, obligation = cast("DeliveryViolation", found.label), found.delivery, found.obligation
    rule = narrator.rule(accusation, found)
    faults = narrator.faults(delivery.op, rule.since_ns, delivery.at_ns)
    operations = [obligation.operation] if obligation else []
    if obligation and obligation.superseded_by and accusation in ("phantom", "stale"):
        operations.append(obligation.superseded_by)
    deliveries = [found.first, delivery] if accusation == "duplicate" else [delivery]
    evidence = list(_evidence(operations, deliveries, faults))
    return Violation(delivery.op, accusation, delivery.at_ns, evidence, narrator.accused(rule, found, faults))


def _evidence(
    operations: Iterable[Operation], deliveries: Iterable[Delivery], faults: Iterable[RecordedFault]
) -> Iterator[str]:
    yield from (f"history.jsonl:{line}" for o in operations for line in (o.line, o.answered_line) if line)
    yield from (f"deliveries.jsonl:{delivery.line}" for delivery in deliveries)
    yield from (f"faults.jsonl:{line}" for fault in faults for line in sorted(fault.phases.values()))
