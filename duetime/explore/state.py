"""Which states of an interleaving are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from duetime.explore.participants import Actor, Connection, Event
from duetime.explore.steps import FAULTS


def state_of(
    actors: Mapping[str, Actor],
    events: Sequence[Event],
    waiting: Sequence[Connection],
    contents: Sequence[tuple[str, str]],
    *,
    alike: Sequence[str],
) -> str:
    """Return the same text for states from which the same follows, with the same verdict.

    What a participant does next, and what its open transaction has changed and locked, follows from what it has seen.
    The verdict depends on the order of three kinds of instants: a call begins, a call returns, a worker looks.

    waiting: the sessions that wait for a lock. contents: the committed rows. alike: participants that do the same, so
    that it makes no difference which of them did what.
    """
    answered = {event.op: event.at for event in events if event.what in ("ok", "fail", "info")}
    kills = [event for event in events if event.what in FAULTS]
    # Who began to wait first gets the lock first.
    queue = [connection.actor for connection in sorted(waiting, key=lambda connection: connection.since)]

    def returned_by(at: float) -> list[str]:
        return sorted(op for op, answered_at in answered.items() if answered_at < at)

    def described(name: str) -> str:
        actor = actors[name]
        own = [event for event in events if event.actor == name]
        deliveries = [
            (event.op, returned_by(event.looked_at), [kill.since <= event.looked_at <= kill.at for kill in kills])
            for event in own
            if event.what == "deliver"
        ]
        invoked = [(event.op, returned_by(event.at)) for event in own if event.what == "invoke"]
        looked = None if actor.ended or actor.killed else returned_by(actor.looked_at)
        waits = [place for place, who in enumerate(queue) if who == name]
        return repr(
            (
                actor.saw,
                actor.ended,
                actor.killed,
                actor.cut,
                deliveries,
                invoked,
                looked,
                len(actor.unacknowledged),
                waits,
            )
        )

    others = [described(name) for name in actors if name not in alike]
    whole = repr((sorted(map(described, alike)), others, contents))
    return hashlib.sha1(whole.encode(), usedforsecurity=False).hexdigest()[:16]
