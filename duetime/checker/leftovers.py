"""What the design's store still has at the end, and may hand out after it: delivered once more, or at last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from duetime.checker.evidence import Evidence
from duetime.checker.interruptions import Interruption, Interruptions
from duetime.checker.obligations import Obligation
from duetime.checker.wording import RunClock, duration
from duetime.history import Closed, Delivery, History, Operation, StoredEntry


@dataclass(frozen=True, slots=True)
class Leftover:
    """One delivered revision that was stored before the workers were stopped, and after they had ended.

    deliveries: of the revision, the first first.
    proven: its worker is gone, and no other can acknowledge it. certain: the store hands it out again.
    """

    op: str
    entry: StoredEntry
    deliveries: Sequence[Delivery]
    proven: bool

    @property
    def certain(self) -> bool:
        return self.entry.state == "waiting" or self.entry.back_after_s is not None


def leftovers(
    history: History, obligations: Mapping[str, Obligation], interruptions: Interruptions, evidence: Evidence
) -> list[Leftover]:
    """The leftovers of current revisions, in the order of the store's list.

    A revision that was cancelled or replaced, or may have been, is none: a design that asks before it delivers drops
    it. The harness ends workers that do not stop in time, also in the middle of an acknowledgement, so what they held
    proves nothing.
    """
    closed = history.closed
    if closed is None or not closed.pending or not closed.after_stop:
        return []
    candidates = [op for op in closed.pending if op in obligations and _stored_twice(closed, op)]
    if not candidates:
        return []
    current = _current(history, candidates)
    deliveries = _deliveries(history, candidates)
    all_ended_in_order = closed.cut_short == ()
    found = []
    for op in candidates:
        if op in current and deliveries[op]:
            gone = evidence.faults_intact and all(interruptions.process_gone(one) for one in deliveries[op])
            proven = evidence.calls_intact and (all_ended_in_order or gone)
            found.append(Leftover(op, closed.after_stop[op], deliveries[op], proven))
    return found


def maybe_left(
    history: History, obligations: Mapping[str, Obligation], interruptions: Interruptions
) -> Iterator[Delivery]:
    """The only deliveries of current revisions that a fault may have left in a store that cannot be listed."""
    closed = history.closed
    if closed is None or not closed.unlisted:
        return
    hit = {one.op for one in history.deliveries if one.op in obligations and interruptions.may_have_left(one)}
    current, deliveries = _current(history, list(hit)), _deliveries(history, list(hit))
    yield from (deliveries[op][0] for op in sorted(hit) if op in current and len(deliveries[op]) == 1)


def _stored_twice(closed: Closed, op: str) -> bool:
    before, after = (closed.pending or {}).get(op), (closed.after_stop or {}).get(op)
    return before is not None and after is not None and "failed" not in (before.state, after.state)


def _current(history: History, ops: Sequence[str]) -> set[str]:
    """Those of `ops` that every other operation of their key is surely before."""
    operations = history.operations
    of_key: dict[str, list[Operation]] = defaultdict(list)
    keys = {operations[op].key for op in ops}
    for operation in operations.values():
        if operation.key in keys and operation.answer != "fail":
            of_key[operation.key].append(operation)
    return {
        op
        for op in ops
        if operations[op].answer != "fail"
        and all(o.op == op or o.end_ns < operations[op].invoked_ns for o in of_key[operations[op].key])
    }


def _deliveries(history: History, ops: Sequence[str]) -> Mapping[str, list[Delivery]]:
    found: dict[str, list[Delivery]] = {op: [] for op in ops}
    for delivery in history.deliveries:
        if delivery.op in found:
            found[delivery.op].append(delivery)
    return found


def awaiting_recovery(
    history: History, obligations: Mapping[str, Obligation], interruptions: Interruptions
) -> Mapping[str, Interruption]:
    """The undelivered revisions that the store may hand out after the end, each with the interruption that explains it.

    The design documents how long it takes until what a dead worker held is delivered, and the run ended before.
    """
    closed, within_ns = history.closed, history.plan.recovers_within_ns
    if closed is None or not within_ns:
        return {}
    too_recent = [one for one in interruptions.all if one.end_ns + within_ns > closed.at_ns]
    found = {}
    for op, obligation in obligations.items() if too_recent else ():
        entry = (closed.pending or {}).get(op)
        if entry.state != "failed" if entry else closed.unlisted:
            key, deadline_ns = obligation.operation.key, obligation.deadline_ns
            hit = next((one for one in too_recent if one.start_ns <= deadline_ns and one.concerns(key)), None)
            if hit:
                found[op] = hit
    return found


def doubts(
    history: History,
    left: Sequence[Leftover],
    maybe: Sequence[Delivery],
    awaited: Mapping[str, Interruption],
) -> Iterator[str]:
    """Why the run cannot pass: sentences without their full stop.

    awaited: the open revisions, each with the interruption.
    """
    closed = history.closed
    if closed is None:
        return
    clock = RunClock(history.started_ns)
    if awaited:
        within_s, since_ns = history.plan.recovers_within_ns / 1e9, max(one.start_ns for one in awaited.values())
        yield (
            f"{_required(len(awaited))} not arrived and may still: what a dead worker held is promised within "
            f"{within_s:g} s, and the run ended {duration(closed.at_ns - since_ns)} after the fault at "
            f"{clock.at(since_ns)}; a longer run can be judged"
        )
    if uncertain := [one for one in left if one.proven and not one.certain]:
        yield (
            f"{_delivered(uncertain)} still held, and whether the store hands it out again is not certain: "
            f"{uncertain[0].op}, {uncertain[0].entry.where}"
        )
    if unproven := [one for one in left if not one.proven]:
        names, one = ", ".join(closed.cut_short or ()) or "a worker", unproven[0]
        yield (
            f"{_delivered(unproven)} still held when the workers were stopped, and {names} did not end in an orderly "
            f"way, so the records do not show whether it is delivered again: {one.op}, {one.entry.where}"
        )
    if maybe:
        yield (
            f"the design's store cannot be listed ({closed.unlisted.rstrip('.')}), and a fault may have left "
            f"{maybe[0].op} in it, which {maybe[0].worker} delivered at {clock.at(maybe[0].at_ns)}"
        )


def _required(number: int) -> str:
    return f"{number} required " + ("notification has" if number == 1 else "notifications have")


def _delivered(left: Sequence[Leftover]) -> str:
    return "1 delivered notification was" if len(left) == 1 else f"{len(left)} delivered notifications were"
