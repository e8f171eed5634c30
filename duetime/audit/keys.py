"""The rows of one key, and the operations that they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from duetime.audit.rows import Delivered, Promised
from duetime.audit.terms import Reading
from duetime.checker.obligations import Obligation, obligations_of
from duetime.history import Operation

EARLIEST_NS: Final = -(1 << 62)
"""Earlier than every instant of the data."""
BOUNDARIES: Final = 200
"""With more cancelled revisions, the cancels of a key forbid no delivery; each costs another look at the whole key."""


@dataclass(slots=True)
class Key:
    """All rows of one key.

    promises: one for each revision, or, without revisions, for each row. cancels: rows that only cancel.
    contradictory: positions in `promises` of those whose rows contradict one another, so that nothing shows when they
    were accepted. ambiguous: those of them that have several due times, so that nothing about them is proven.
    repeated: rows that were merged.
    """

    name: str
    promises: list[Promised] = field(default_factory=list)
    cancels: list[Promised] = field(default_factory=list)
    deliveries: list[Delivered] = field(default_factory=list)
    contradictory: set[int] = field(default_factory=set)
    ambiguous: set[int] = field(default_factory=set)
    repeated: int = 0

    def position(self, op: str) -> int | None:
        """The position in `promises` of the one that is named `op`."""
        return next((at for at in range(len(self.promises)) if self.op(at) == op), None)

    def op(self, position: int) -> str:
        """The name of a promise for the checker, which is unique among all keys."""
        revision = self.promises[position].revision
        return f"{self.name}/{position if revision is None else revision}"


@dataclass(frozen=True, slots=True)
class Revisions:
    """Whether promises and deliveries have revisions. matched: both have, so each delivery names its promise."""

    promised: bool
    delivered: bool

    @property
    def matched(self) -> bool:
        return self.promised and self.delivered


def by_key(
    promises: Iterable[Promised], deliveries: Iterable[Delivered], *, revisions: Revisions, clock_tolerance_ns: int
) -> list[Key]:
    """Group rows by key; rows of one revision become one promise."""
    keys: dict[str, Key] = {}
    for promise in promises:
        key = keys.get(promise.key)
        if key is None:
            key = keys[promise.key] = Key(promise.key)
        (key.cancels if promise.due_ns is None else key.promises).append(promise)
    for delivered in deliveries:
        key = keys.get(delivered.key)
        if key is None:
            key = keys[delivered.key] = Key(delivered.key)
        key.deliveries.append(delivered)
    for key in keys.values():
        if revisions.promised and len(key.promises) > 1:
            _merge(key, same_time_ns=2 * clock_tolerance_ns)
    return list(keys.values())


def _merge(key: Key, *, same_time_ns: int) -> None:
    rows: dict[int | None, list[Promised]] = {}
    for promise in key.promises:
        rows.setdefault(promise.revision, []).append(promise)
    if len(rows) == len(key.promises):
        return
    key.repeated = len(key.promises) - len(rows)
    key.promises = []
    for same in rows.values():
        accepted = [one.accepted_ns for one in same if one.accepted_ns is not None]
        cancelled = {one.cancelled_ns for one in same if one.cancelled_ns is not None}
        if len({one.due_ns for one in same}) > 1:
            key.ambiguous.add(len(key.promises))
        if len(cancelled) > 1 or (accepted and max(accepted) - min(accepted) > same_time_ns):
            key.contradictory.add(len(key.promises))
        key.promises.append(
            min(same, key=lambda one: (one.due_ns or 0, one.line))._replace(
                accepted_ns=min(accepted) if len(accepted) == len(same) else None,
                cancelled_ns=min(cancelled, default=None),
            )
        )
    key.contradictory |= key.ambiguous


def obligations(keys: Iterable[Key], reading: Reading, *, revisions: Revisions) -> dict[str, Obligation]:
    """The obligation of each promise, by `Key.op`, from the checker's rules.

    Revisions of a key replace one another. Without revisions each promise stands alone.
    """
    together: list[Operation] = []
    found: dict[str, Obligation] = {}
    for key in keys:
        schedules = [_schedule(key, position, reading) for position in range(len(key.promises))]
        if len(schedules) == 1 and not key.cancels and key.promises[0].cancelled_ns is None:
            together += schedules
            continue
        whole_key = [_cancel_row(key, cancel, reading) for cancel in key.cancels]
        delivered = _first_deliveries(key, revisions)
        own = [
            _own_cancel(key, position, schedule, reading, delivered.get(schedule.op))
            for position, schedule in enumerate(schedules)
        ]
        if revisions.promised or len(schedules) == 1:
            groups = list(_groups(schedules, own, whole_key))
            if len(groups) == 1:
                together += groups[0][1]
            else:
                for wanted, operations in groups:
                    among = _obligations(operations, reading)
                    found |= {op: among[op] for op in wanted}
        else:
            for schedule, cancel in zip(schedules, own, strict=True):
                # The checker knows keys, so each promise gets one of its own.
                alone = [schedule, *filter(None, [cancel]), *whole_key]
                found |= _obligations(alone, reading)
    found = _obligations(together, reading) | found
    for obligation in found.values():
        # A delivery seems to precede its promise by as much as both clocks are wrong.
        obligation.operation.invoked_ns -= reading.tolerance_ns
    return found


def _obligations(operations: Sequence[Operation], reading: Reading) -> dict[str, Obligation]:
    return obligations_of(operations, excused=reading.excused, lateness_limit_ns=reading.profile.lateness_limit_ns)


def _groups(
    schedules: Sequence[Operation], own: Sequence[Operation | None], whole_key: Sequence[Operation]
) -> Iterator[tuple[list[str], list[Operation]]]:
    """The ops of some schedules, and all operations that concern them.

    The cancel of a revision concerns it and older ones. Mostly that makes one group: a cancel that is surely before a
    newer revision does not matter to it.
    """
    cancels = [one for one in own if one]
    ops = [schedule.op for schedule in schedules]
    if not _reach_newer(schedules, cancels):
        yield ops, [*schedules, *cancels, *whole_key]
        return
    boundaries = sorted({cancel.revision for cancel in cancels})
    if len(boundaries) > BOUNDARIES:
        yield ops, [*schedules, *map(_unanswered, cancels), *whole_key]
        return
    newest = max(schedule.revision for schedule in schedules)
    above: int | None = None
    for boundary in dict.fromkeys([*boundaries, newest]):
        wanted = [o.op for o in schedules if o.revision <= boundary and (above is None or o.revision > above)]
        if wanted:
            yield wanted, [*schedules, *(cancel for cancel in cancels if cancel.revision >= boundary), *whole_key]
        above = boundary


def _reach_newer(schedules: Sequence[Operation], cancels: Sequence[Operation]) -> bool:
    """Return True if the cancel of a revision is not surely before every newer one."""
    latest_end, in_order = EARLIEST_NS, sorted([*schedules, *cancels], key=lambda o: (o.revision, o.verb == "cancel"))
    for o in in_order:
        if o.verb == "cancel":
            latest_end = max(latest_end, o.end_ns)
        elif latest_end >= o.invoked_ns and latest_end > EARLIEST_NS:
            return True
    return False


def _unanswered(o: Operation) -> Operation:
    return Operation(o.op, o.key, o.revision, o.verb, o.due_ns, o.invoked_ns, o.line)


def _schedule(key: Key, position: int, reading: Reading) -> Operation:
    """The acceptance of a promise: an interval, or a call without an answer if the data does not say when it was."""
    promise, tolerance_ns = key.promises[position], reading.tolerance_ns
    accepted_ns, cancelled_ns, due_ns = promise.accepted_ns, promise.cancelled_ns, promise.due_ns or 0
    o = Operation(key.op(position), key.name, promise.revision or 0, "schedule", due_ns, EARLIEST_NS, promise.line)
    if position in key.contradictory or _cancelled_before(promise, reading):
        return o
    known = [cancelled_ns + tolerance_ns] if cancelled_ns is not None else []
    if accepted_ns is not None:
        o.invoked_ns = accepted_ns - tolerance_ns
        known = [accepted_ns + tolerance_ns]
    elif reading.accepted_early:
        known.append(due_ns)
    if known:
        o.answer, o.answered_ns, o.answered_line = "ok", min(known), promise.line
    return o


def _cancelled_before(promise: Promised, reading: Reading) -> bool:
    """Return True if a promise was cancelled before it was accepted: the row was used again, or a clock was wrong."""
    if promise.accepted_ns is None or promise.cancelled_ns is None:
        return False
    return promise.cancelled_ns + 2 * reading.clock_tolerance_ns < promise.accepted_ns


def _first_deliveries(key: Key, revisions: Revisions) -> dict[str, int]:
    """The first delivery of each promise, by `Key.op`, where the data says to which promise a delivery belongs."""
    if not revisions.matched and len(key.promises) > 1:
        return {}
    first: dict[str, int] = {}
    for one in key.deliveries:
        op = f"{key.name}/{one.revision}" if revisions.matched else key.op(0)
        first[op] = min(one.at_ns, first.get(op, one.at_ns))
    return first


def _own_cancel(
    key: Key, position: int, schedule: Operation, reading: Reading, delivered_ns: int | None
) -> Operation | None:
    """The cancel of one promise. None after its delivery: many schedulers then delete the row, and nothing is left."""
    promise = key.promises[position]
    if promise.cancelled_ns is None:
        return None
    if schedule.answer == "ok" and delivered_ns is not None:
        is_early = delivered_ns < schedule.due_ns - reading.profile.early_tolerance_ns
        if not is_early and delivered_ns <= promise.cancelled_ns + reading.same_time_ns:
            return None
    cancel = _cancel(f"{schedule.op}/cancel", key, promise, promise.cancelled_ns, reading)
    if schedule.answer != "ok":
        return _unanswered(cancel)
    # A promise is accepted before it is cancelled, whatever the clocks say.
    cancel.invoked_ns = max(cancel.invoked_ns, schedule.answered_ns + 1)
    cancel.answered_ns = max(cancel.answered_ns, cancel.invoked_ns)
    return cancel


def _cancel_row(key: Key, row: Promised, reading: Reading) -> Operation:
    return _cancel(f"{key.name}/cancel {row.line}", key, row, row.cancelled_ns or 0, reading)


def _cancel(op: str, key: Key, row: Promised, at_ns: int, reading: Reading) -> Operation:
    tolerance_ns = reading.tolerance_ns
    return Operation(
        *(op, key.name, row.revision or 0, "cancel", 0, at_ns - tolerance_ns, row.line),
        *("ok", at_ns + tolerance_ns, row.line),
    )
