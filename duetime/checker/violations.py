"""Violations with their evidence and explanation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from duetime.checker.explain import Explainer
from duetime.checker.labels import DELIVERY_VIOLATIONS, Labelled
from duetime.checker.leftovers import Leftover
from duetime.checker.obligations import Obligation
from duetime.checker.states import State
from duetime.history import Delivery, History, Operation, RecordedFault, StoredEntry


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule.

    at_ns: of the delivery; for a missed notification, its deadline; for one that will repeat, the end of the run.
    evidence: files and line numbers, as ``history.jsonl:12``.
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
    left: Iterable[Leftover],
) -> list[Violation]:
    """All violations, in the order of their instants."""
    explainer = Explainer(history)
    pending = (history.closed.pending if history.closed else None) or {}
    found = [_will_repeat(obligations[one.op], one, explainer) for one in left if one.proven and one.certain]
    found += [_missed(obligations[op], pending.get(op), explainer) for op, state in states.items() if state == "missed"]
    found += [_delivery(item, explainer) for item in labelled if item.label in DELIVERY_VIOLATIONS]
    return sorted(found, key=lambda violation: (violation.at_ns, violation.op, violation.label))


def _will_repeat(obligation: Obligation, left: Leftover, explainer: Explainer) -> Violation:
    o, last = obligation.operation, left.deliveries[-1]
    faults = explainer.faults(o.key, last.at_ns, last.at_ns + explainer.acknowledged_within_ns)
    evidence = [*_evidence([o], left.deliveries, faults), "closed.json"]
    return Violation(
        o.op, "will_repeat", explainer.closed_ns, evidence, explainer.will_repeat(obligation, last, left.entry, faults)
    )


def _missed(obligation: Obligation, entry: StoredEntry | None, explainer: Explainer) -> Violation:
    o = obligation.operation
    faults = explainer.faults(o.key, o.due_ns, obligation.deadline_ns)
    explanation = explainer.missed(obligation, entry, faults)
    return Violation(o.op, "missed", obligation.deadline_ns, list(_evidence([o], [], faults)), explanation)


def _delivery(labelled: Labelled, explainer: Explainer) -> Violation:
    label, delivery, obligation = labelled.label, labelled.delivery, labelled.obligation
    faults = explainer.faults(delivery.op, _relevant_since_ns(labelled), delivery.at_ns)
    operations = [obligation.operation] if obligation else []
    if obligation and obligation.superseded_by and label in ("phantom", "stale"):
        operations.append(obligation.superseded_by)
    deliveries = [labelled.first, delivery] if label == "duplicate" else [delivery]
    evidence = list(_evidence(operations, deliveries, faults))
    return Violation(delivery.op, label, delivery.at_ns, evidence, explainer.delivery(labelled, faults))


def _relevant_since_ns(labelled: Labelled) -> int:
    """The instant from which a fault may have contributed to the violation."""
    obligation, at_ns = labelled.obligation, labelled.delivery.at_ns
    if labelled.label == "duplicate":
        return labelled.first.at_ns
    if obligation is None or labelled.label == "early":
        return at_ns
    if labelled.label == "late":
        return obligation.ready_ns
    o, by = obligation.operation, obligation.superseded_by
    return at_ns if o.answer == "fail" or at_ns < o.invoked_ns or by is None else by.invoked_ns


def _evidence(
    operations: Iterable[Operation], deliveries: Iterable[Delivery], faults: Iterable[RecordedFault]
) -> Iterator[str]:
    yield from (f"history.jsonl:{line}" for o in operations for line in (o.line, o.answered_line) if line)
    yield from (f"deliveries.jsonl:{delivery.line}" for delivery in deliveries)
    yield from (f"faults.jsonl:{line}" for fault in faults for line in sorted(fault.phases.values()))
