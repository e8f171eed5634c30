"""Which promise of a key a delivery belongs to, where revisions do not say it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from duetime.audit.keys import Key, Revisions
from duetime.checker.obligations import Obligation
from duetime.history import Delivery


def deliveries_of(
    key: Key, obligations: Mapping[str, Obligation], *, revisions: Revisions, early_ns: int
) -> list[Delivery]:
    """The deliveries of `key`, each with the op of its promise.

    Without revisions in both sources, a delivery belongs to the earliest promise that was due by then, or `early_ns`
    later, and has no delivery yet; required ones come before others, due ones before later ones. A delivery for which
    none is left belongs to the last promise due by then, as one too many.
    """
    if revisions.matched:
        return [Delivery(one.at_ns, one.line, f"{key.name}/{one.revision}", "", 1) for one in key.deliveries]
    if not key.promises:
        return [Delivery(one.at_ns, one.line, f"{key.name}/-", "", 1) for one in key.deliveries]
    if len(key.promises) == 1:
        op = key.op(0)
        return [Delivery(one.at_ns, one.line, op, "", 1) for one in key.deliveries]
    by_due = sorted((key.promises[position].due_ns or 0, key.op(position)) for position in range(len(key.promises)))
    required = deque(one for one in by_due if obligations[one[1]].required)
    others = deque(one for one in by_due if not obligations[one[1]].required)
    found = []
    for one in sorted(key.deliveries, key=lambda one: (one.at_ns, one.line)):
        due_by_ns = one.at_ns + early_ns
        waiting = [queue for queue in (required, others) if queue]
        if waiting:
            queue = next((queue for queue in waiting if queue[0][0] <= due_by_ns), waiting[0])
            op = queue.popleft()[1]
        else:
            op = next((op for due_ns, op in reversed(by_due) if due_ns <= due_by_ns), by_due[0][1])
        found.append(Delivery(one.at_ns, one.line, op, "", 1))
    return found
