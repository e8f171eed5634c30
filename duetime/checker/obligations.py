"""What each scheduled revision was promised, worked out from the operations on its key."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from duetime.checker.intervals import Interval, Intervals
from duetime.history import NEVER, Operation, RecordedFault, RecordedProfile


@dataclass(slots=True)
class Obligation:
    """One scheduled revision, with the instants that decide about it.

    ready_ns: due and acknowledged. deadline_ns: ready, and the lateness limit of healthy time later.
    superseded_ns: when a later operation on the key was first acknowledged: `superseded_by`.
    required: acknowledged, and nothing on the key could lawfully have taken it away by the deadline.
    excused: the time that does not count toward its lateness.
    """

    operation: Operation
    ready_ns: int
    deadline_ns: int
    superseded_ns: int
    superseded_by: Operation | None
    required: bool
    excused: Intervals


class Excuses:
    """Excused time: from each injection until the fault was seen healed and its recovery budget was spent.

    A fault that concerns certain keys only excuses nothing else.
    """

    def __init__(self, spans: Iterable[tuple[tuple[str, ...], Interval]]) -> None:
        self._spans = list(spans)
        self._everywhere = Intervals(span for only, span in self._spans if not only)
        self._scoped = [(only, span) for only, span in self._spans if only]

    @classmethod
    def by(cls, faults: Iterable[RecordedFault], profile: RecordedProfile) -> Excuses:
        """What `faults` excuse."""
        return cls(
            (
                fault.only,
                (fault.injected_ns, min(NEVER, fault.healed_ns + profile.recovery_budget_ns.get(fault.kind, 0))),
            )
            for fault in faults
            if fault.injected_ns < NEVER and fault.kind not in profile.non_excusing_faults
        )

    def besides(self, spans: Iterable[Interval]) -> Excuses:
        """These, and `spans` for every key."""
        return Excuses([*self._spans, *(((), span) for span in spans)])

    def of(self, key: str) -> Intervals:
        """The excused time of the notifications under `key`."""
        own = [span for only, span in self._scoped if key.startswith(only)]
        return self._everywhere | Intervals(own) if own else self._everywhere


def obligations_of(
    operations: Iterable[Operation], *, excused: Excuses, lateness_limit_ns: int
) -> dict[str, Obligation]:
    """A promise for each schedule operation, by op, in the order given."""
    found = list(operations)
    by_key: defaultdict[str, list[Operation]] = defaultdict(list)
    for o in found:
        by_key[o.key].append(o)
    obligations: dict[str, Obligation] = {}
    for name, on_key in by_key.items():
        # On most keys of a large run there is one operation, which nothing can have taken back.
        key, mine = _Key(on_key) if len(on_key) > 1 else None, excused.of(name)
        for o in on_key:
            if o.verb == "schedule":
                obligations[o.op] = _obligation(o, key, mine, lateness_limit_ns)
    return {o.op: obligations[o.op] for o in found if o.verb == "schedule"}


def _obligation(o: Operation, key: _Key | None, excused: Intervals, limit_ns: int) -> Obligation:
    if o.answer != "ok":
        return Obligation(o, NEVER, NEVER, NEVER, None, required=False, excused=excused)
    ready_ns = max(o.due_ns, o.answered_ns)
    deadline_ns = excused.after(ready_ns, limit_ns)
    by = key.superseding(o) if key else None
    superseded_ns = by.answered_ns if by else NEVER
    required = key is None or key.alone(o, deadline_ns)
    return Obligation(o, ready_ns, deadline_ns, superseded_ns, by, required=required, excused=excused)


class _Key:
    """All operations on one key, sorted so that each question about a revision is a binary search."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        possible = [o for o in operations if o.answer != "fail"]
        self._invoked = sorted(o.invoked_ns for o in possible)
        self._ended = sorted(o.end_ns for o in possible)
        acknowledged = sorted((o for o in possible if o.answer == "ok"), key=lambda o: o.invoked_ns)
        self._acknowledged = [o.invoked_ns for o in acknowledged]
        self._first_to_return = _suffix_minimum(acknowledged)

    def superseding(self, o: Operation) -> Operation | None:
        """Of the acknowledged operations invoked surely after `o`, the one that returned first."""
        later = bisect_right(self._acknowledged, o.answered_ns)
        return self._first_to_return[later] if later < len(self._first_to_return) else None

    def alone(self, o: Operation, deadline_ns: int) -> bool:
        """Whether every other operation that may have taken effect was surely over before `o`, or began too late.

        Those that ended before `o` began also began before the deadline, so one count less the other leaves the
        operations in between: `o` itself, and no more.
        """
        begun = bisect_right(self._invoked, deadline_ns)
        over = bisect_left(self._ended, o.invoked_ns)
        return begun - over == 1


def _suffix_minimum(acknowledged: Sequence[Operation]) -> list[Operation]:
    """For each position, whichever of the operations from there on returned first; a cancel before its equals."""
    best: list[Operation] = []
    for o in reversed(acknowledged):
        if best and (best[-1].answered_ns, best[-1].verb) <= (o.answered_ns, o.verb):
            best.append(best[-1])
        else:
            best.append(o)
    return best[::-1]
