"""The obligation that each scheduled revision creates, computed from the operations on its key."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from duetime.checker.intervals import Interval, Intervals
from duetime.history import NEVER, Operation, RecordedFault, RecordedProfile


@dataclass(slots=True)
class Obligation:
    """One scheduled revision, and the instants by which its deliveries are judged.

    ready_ns: the later of due and acknowledged. deadline_ns: the lateness limit, in healthy time, after `ready_ns`.
    superseded_by: the later operation on the key that was acknowledged first, at `superseded_ns`.
    required: acknowledged, and no other operation on the key can lawfully have replaced it by the deadline.
    excused: the time that does not count toward lateness.
    """

    operation: Operation
    ready_ns: int
    deadline_ns: int
    superseded_ns: int
    superseded_by: Operation | None
    required: bool
    excused: Intervals


class Excuses:
    """Excused time: from each injection until the fault was verified healed and its recovery budget has passed.

    A fault on certain keys excuses only these.
    """

    def __init__(self, spans: Iterable[tuple[tuple[str, ...], Interval]]) -> None:
        self._spans = list(spans)
        self._everywhere = Intervals(span for only, span in self._spans if not only)
        self._scoped = [(only, span) for only, span in self._spans if only]

    @classmethod
    def by(cls, faults: Iterable[RecordedFault], profile: RecordedProfile) -> Excuses:
        return cls(
            (
                fault.only,
                (fault.injected_ns, min(NEVER, fault.healed_ns + profile.recovery_budget_ns.get(fault.kind, 0))),
            )
            for fault in faults
            if fault.injected_ns < NEVER and fault.kind not in profile.non_excusing_faults
        )

    def plus(self, spans: Iterable[Interval]) -> Excuses:
        """These excuses, and `spans` for every key."""
        return Excuses([*self._spans, *(((), span) for span in spans)])

    def of(self, key: str) -> Intervals:
        """The excused time of `key`."""
        scoped = [span for only, span in self._scoped if key.startswith(only)]
        return self._everywhere | Intervals(scoped) if scoped else self._everywhere


def obligations_of(
    operations: Iterable[Operation], *, excused: Excuses, lateness_limit_ns: int
) -> dict[str, Obligation]:
    """An obligation for each schedule operation, by op, in the order given."""
    all_operations = list(operations)
    by_key: defaultdict[str, list[Operation]] = defaultdict(list)
    for o in all_operations:
        by_key[o.key].append(o)
    obligations: dict[str, Obligation] = {}
    for name, on_key in by_key.items():
        # Most keys of a large run have a single operation; skipping the index for them saves time.
        key, excused_on_key = _Key(on_key) if len(on_key) > 1 else None, excused.of(name)
        for o in on_key:
            if o.verb == "schedule":
                obligations[o.op] = _obligation(o, key, excused_on_key, lateness_limit_ns)
    return {o.op: obligations[o.op] for o in all_operations if o.verb == "schedule"}


def _obligation(o: Operation, key: _Key | None, excused: Intervals, limit_ns: int) -> Obligation:
    if o.answer != "ok":
        return Obligation(o, NEVER, NEVER, NEVER, None, required=False, excused=excused)
    ready_ns = max(o.due_ns, o.answered_ns)
    deadline_ns = excused.after(ready_ns, limit_ns)
    by = key.superseding(o) if key else None
    superseded_ns = by.answered_ns if by else NEVER
    required = key is None or key.unopposed(o, deadline_ns)
    return Obligation(o, ready_ns, deadline_ns, superseded_ns, by, required=required, excused=excused)


class _Key:
    """All operations on one key, sorted for binary search."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        possible = [o for o in operations if o.answer != "fail"]
        self._invoked = sorted(o.invoked_ns for o in possible)
        self._ended = sorted(o.end_ns for o in possible)
        acknowledged = sorted((o for o in possible if o.answer == "ok"), key=lambda o: o.invoked_ns)
        self._acknowledged = [o.invoked_ns for o in acknowledged]
        self._first_to_return = _suffix_minimum(acknowledged)

    def superseding(self, o: Operation) -> Operation | None:
        """The operation that returned first among those acknowledged and surely after `o`, or None."""
        later = bisect_right(self._acknowledged, o.answered_ns)
        return self._first_to_return[later] if later < len(self._first_to_return) else None

    def unopposed(self, o: Operation, deadline_ns: int) -> bool:
        """Return True if every other operation that may have taken effect is surely before `o` or after the deadline.

        Operations that ended before `o` began also began before the deadline, so the difference of the two counts is
        the number in between, including `o` itself.
        """
        invoked = bisect_right(self._invoked, deadline_ns)
        ended = bisect_left(self._ended, o.invoked_ns)
        return invoked - ended == 1


def _suffix_minimum(acknowledged: Sequence[Operation]) -> list[Operation]:
    """For each position, the operation from there on that returned first; a cancel wins a tie."""
    best: list[Operation] = []
    for o in reversed(acknowledged):
        if best and (best[-1].answered_ns, best[-1].verb) <= (o.answered_ns, o.verb):
            best.append(best[-1])
        else:
            best.append(o)
    return best[::-1]
