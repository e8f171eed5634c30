"""The data from which a run is drawn; times in seconds after its start."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from duetime.checker import Results
from duetime.checker.labels import Labelled
from duetime.faults.fault import FAULT_KINDS, FaultKindInfo
from duetime.history import NEVER, History, Operation, RecordedFault

Numbers = dict[str, Any]

UNKNOWN_KIND = FaultKindInfo(title="", colour="#7f7f7f", recovery_budget_s=0.0)
"""For a kind of fault that this version of duetime does not have."""


def lane(
    history: History,
    results: Results,
    *,
    logs: Mapping[str, Sequence[str]] | None = None,
    at_most: int | None = None,
    sample_size: int = 1_000,
) -> Numbers:
    """Everything known about one run, by notification. Names are short, because a page holds ten thousand of them.

    logs: log lines by op. at_most: if there are more notifications, only about `sample_size` of those without and of
    those with violations are included; `sample` then has the number of all, and the counts of all violations.
    """
    axis = _Axis(history.started_ns)
    workers = sorted({delivery.worker for delivery in history.deliveries})
    chosen, sample = _sample(history, results, at_most, sample_size)
    return {
        **sample,
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


def _sample(
    history: History, results: Results, at_most: int | None, sample_size: int
) -> tuple[Collection[str] | None, Numbers]:
    """The keys to include, and a description of the sample; None and {} for all keys."""
    keys = dict.fromkeys(operation.key for operation in history.operations.values())
    keys.update(dict.fromkeys(_key_of(delivery.op) for delivery in history.deliveries))
    if at_most is None or len(keys) <= at_most:
        return None, {}
    violating = dict.fromkeys(_key_of(violation.op) for violation in results.violations)
    others = [key for key in keys if key not in violating]
    every, every_violating = (max(1, -(-len(group) // sample_size)) for group in (others, violating))
    sample = {
        "notes": len(keys),
        "every": every,
        "every_violating": every_violating,
        "violations": dict(Counter(violation.label for violation in results.violations)),
    }
    return {*others[::every], *list(violating)[::every_violating]}, {"sample": sample}


class _Axis:
    """Converts instants to seconds after the start, rounded to milliseconds; None for never."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns

    def __call__(self, at_ns: int) -> float | None:
        return None if at_ns >= NEVER else round((at_ns - self._start_ns) / 1e9, 3)


def _end_ns(history: History) -> int:
    """When the history was closed, or else the time of its last record."""
    if history.closed:
        return history.closed.at_ns
    known = [delivery.at_ns for delivery in history.deliveries] + [mono for _, mono in history.clock]
    return max([*known, *(operation.invoked_ns for operation in history.operations.values())], default=0)


def _fault(fault: RecordedFault, history: History, axis: _Axis) -> Numbers:
    profile = history.plan.profile
    kind = FAULT_KINDS.get(fault.kind, UNKNOWN_KIND)  # type: ignore[call-overload]  # a stored run may have other kinds
    excuses = fault.kind not in profile.non_excusing_faults
    healed, injected = axis(fault.healed_ns), axis(fault.injected_ns)
    budget_s = profile.recovery_budget_ns.get(fault.kind, 0) / 1e9
    # None for a fault that was not verified as healed: it excuses lateness to the end.
    excused = None if healed is None else round(healed + budget_s, 3)
    return {
        "name": fault.fault,
        "kind": fault.kind,
        "target": fault.target,
        "title": kind.title or fault.kind,
        "colour": kind.colour,
        "from": injected,
        "to": healed,
        "excused": excused if excuses else injected,
        "only": list(fault.only),
    }


def _notes(
    history: History, results: Results, chosen: Collection[str] | None, workers: Mapping[str, int], axis: _Axis
) -> list[Numbers]:
    """One note for each key, or each of the `chosen`, with its revisions in order."""
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
    # The rest was delivered but never scheduled.
    notes += [
        {"key": _key_of(op), "revs": [{"op": op, "deliveries": _deliveries(found, workers, axis)}]}
        for op, found in delivered.items()
    ]
    return notes


def _revision(operation: Operation, results: Results, deliveries: list[list[Any]], axis: _Axis) -> Numbers:
    revision: Numbers = {
        "op": operation.op,
        "invoked": axis(operation.invoked_ns),
        "answered": axis(operation.answered_ns),
        "answer": operation.answer,
    }
    obligation = results.obligations.get(operation.op)
    if obligation:
        revision |= {
            "due": axis(operation.due_ns),
            "ready": axis(obligation.ready_ns),
            "deadline": axis(obligation.deadline_ns),
            "state": results.states[operation.op],
            "required": obligation.required,
        }
    return revision | {"deliveries": deliveries} if deliveries else revision


def _deliveries(found: Sequence[Labelled], workers: Mapping[str, int], axis: _Axis) -> list[list[Any]]:
    """Time, number of the worker, attempt and label of each delivery."""
    return [
        [axis(labelled.delivery.at_ns), workers[labelled.delivery.worker], labelled.delivery.attempt, labelled.label]
        for labelled in found
    ]
