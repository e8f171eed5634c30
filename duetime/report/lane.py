"""One run as the numbers that a picture of it is drawn from, in seconds after its start."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from duetime.checker import Results
from duetime.checker.labels import Labelled
from duetime.faults.fault import FAULT_KINDS, FaultKindInfo
from duetime.history import NEVER, History, Operation, RecordedFault

Numbers = dict[str, Any]

UNNAMED = FaultKindInfo(title="", colour="#7f7f7f", recovery_budget_s=0.0)
"""A kind of fault of another version of duetime."""


def lane(
    history: History,
    results: Results,
    *,
    logs: Mapping[str, Sequence[str]] | None = None,
    at_most: int | None = None,
    of_more: int = 1_000,
) -> Numbers:
    """Everything that is known of one run, by notification.

    logs: by op, what the servers logged about it. Short names, because a page holds ten thousand of them.
    at_most: of more notifications than that only every n-th is drawn, `of_more` of those with nothing wrong and as many
    of the others; ``part`` then says of how many, and what all were accused of.
    """
    axis = _Axis(history.started_ns)
    workers = sorted({delivery.worker for delivery in history.deliveries})
    chosen, part = _chosen(history, results, at_most, of_more)
    return {
        **part,
        "design": results.run["design"],
        "outcome": results.outcome,
        "ends": axis(_end_ns(history)),
        "workers": workers,
        "faults": [_fault(fault, history, axis) for fault in history.faults if fault.injected_ns < NEVER],
        "notes": _notes(history, results, chosen, {worker: number for number, worker in enumerate(workers)}, axis),
        "violations": [
            {
                "op": violation.op,
                "label": violation.label,
                "at": axis(violation.at_ns),
                "text": violation.explanation,
                "evidence": violation.evidence,
                "log": list((logs or {}).get(violation.op, ())),
            }
            for violation in results.violations
            if chosen is None or _key_of(violation.op) in chosen
        ],
    }


def _key_of(op: str) -> str:
    return op.rpartition("/")[0]


def _chosen(
    history: History, results: Results, at_most: int | None, of_more: int
) -> tuple[Collection[str] | None, Numbers]:
    """The keys that are drawn, and how they were chosen; None for all of them."""
    keys = dict.fromkeys(operation.key for operation in history.operations.values())
    keys.update(dict.fromkeys(_key_of(delivery.op) for delivery in history.deliveries))
    if at_most is None or len(keys) <= at_most:
        return None, {}
    wrong = dict.fromkeys(_key_of(violation.op) for violation in results.violations)
    others = [key for key in keys if key not in wrong]
    every, every_wrong = (max(1, -(-len(some) // of_more)) for some in (others, wrong))
    part = {
        "notes": len(keys),
        "every": every,
        "every_wrong": every_wrong,
        "violations": dict(Counter(violation.label for violation in results.violations)),
    }
    return {*others[::every], *list(wrong)[::every_wrong]}, {"part": part}


class _Axis:
    """Seconds after the start, to the millisecond; None for what never was."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns

    def __call__(self, at_ns: int) -> float | None:
        return None if at_ns >= NEVER else round((at_ns - self._start_ns) / 1e9, 3)


def _end_ns(history: History) -> int:
    """When the history was closed; where it never was, the last that is known of it."""
    if history.closed:
        return history.closed.at_ns
    known = [delivery.at_ns for delivery in history.deliveries] + [mono for _, mono in history.clock]
    return max([*known, *(operation.invoked_ns for operation in history.operations.values())], default=0)


def _fault(fault: RecordedFault, history: History, axis: _Axis) -> Numbers:
    profile = history.plan.profile
    look = FAULT_KINDS.get(fault.kind, UNNAMED)  # type: ignore[call-overload]  # a stored run may know other kinds
    excuses = fault.kind not in profile.non_excusing_faults
    healed, injected = axis(fault.healed_ns), axis(fault.injected_ns)
    budget_s = profile.recovery_budget_ns.get(fault.kind, 0) / 1e9
    # None for a fault that was never seen to heal: it excuses to the end.
    excused = None if healed is None else round(healed + budget_s, 3)
    return {
        "name": fault.fault,
        "kind": fault.kind,
        "target": fault.target,
        "title": look.title or fault.kind,
        "colour": look.colour,
        "from": injected,
        "to": healed,
        "excused": excused if excuses else injected,
        "only": list(fault.only),
    }


def _notes(
    history: History, results: Results, chosen: Collection[str] | None, workers: Mapping[str, int], axis: _Axis
) -> list[Numbers]:
    """One for each key, or each of the `chosen`: its revisions in order, each with what became of it."""
    delivered: dict[str, list[Labelled]] = defaultdict(list)
    for labelled in results.labelled:
        if chosen is None or _key_of(labelled.delivery.op) in chosen:
            delivered[labelled.delivery.op].append(labelled)
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history.operations.values():
        if chosen is None or operation.key in chosen:
            by_key[operation.key].append(operation)
    notes = [
        {
            "key": key,
            "revs": [
                _revision(operation, results, _deliveries(delivered.pop(operation.op, ()), workers, axis), axis)
                for operation in operations
            ],
        }
        for key, operations in by_key.items()
    ]
    # Nobody scheduled these under this name, and yet they came.
    notes += [
        {"key": _key_of(op), "revs": [{"op": op, "got": _deliveries(found, workers, axis)}]}
        for op, found in delivered.items()
    ]
    return notes


def _revision(operation: Operation, results: Results, got: list[list[Any]], axis: _Axis) -> Numbers:
    told: Numbers = {
        "op": operation.op,
        "asked": axis(operation.invoked_ns),
        "answered": axis(operation.answered_ns),
        "answer": operation.answer,
    }
    obligation = results.obligations.get(operation.op)
    if obligation:
        told |= {
            "due": axis(operation.due_ns),
            "ready": axis(obligation.ready_ns),
            "deadline": axis(obligation.deadline_ns),
            "state": results.states[operation.op],
            "required": obligation.required,
        }
    return told | {"got": got} if got else told


def _deliveries(found: Sequence[Labelled], workers: Mapping[str, int], axis: _Axis) -> list[list[Any]]:
    """When, by which worker, at which attempt, and what the checker calls it."""
    return [[axis(one.delivery.at_ns), workers[one.delivery.worker], one.delivery.attempt, one.label] for one in found]
