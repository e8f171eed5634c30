"""Which states of an interleaving are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from duetime.explore.participants import Connection, Event, Participant
from duetime.explore.steps import FAULTS


def state_of(
    participants: Mapping[str, Participant],
    events: Sequence[Event],
    waiting: Sequence[Connection],
    contents: Sequence[tuple[str, str]],
    *,
    interchangeable: Sequence[str],
) -> str:
    """Return the same text for states from which the same follows, with the same verdict.

    What a participant does next, and what its open transaction has changed and locked, follows from what it has seen.
    The verdict depends on the order of three kinds of instants: a call begins, a call returns, a worker queries.

    waiting: the sessions that wait for a lock. contents: the committed rows. interchangeable: participants
    that do the same, so that it makes no difference which of them did what.
    """
    answered = {event.op: event.at for event in events if event.what in ("ok", "fail", "info")}
    kills = [event for event in events if event.what in FAULTS]
    # Who began to wait first gets the lock first.
    queue = [connection.participant for connection in sorted(waiting, key=lambda connection: connection.since)]

    def returned_by(at: float) -> list[str]:
        return sorted(op for op, answered_at in answered.items() if answered_at < at)

    def described(name: str) -> str:
        participant = participants[name]
        own = [event for event in events if event.participant == name]
        deliveries = [
            (event.op, returned_by(event.queried_at), [kill.since <= event.queried_at <= kill.at for kill in kills])
            for event in own
            if event.what == "deliver"
        ]
        invoked = [(event.op, returned_by(event.at)) for event in own if event.what == "invoke"]
        looked = None if participant.ended or participant.killed else returned_by(participant.queried_at)
        waits = [place for place, who in enumerate(queue) if who == name]
        return repr(
            (
                participant.observed,
                participant.ended,
                participant.killed,
                participant.cut,
                deliveries,
                invoked,
                looked,
                len(participant.unacknowledged),
                waits,
            )
        )

    others = [described(name) for name in participants if name not in interchangeable]
    whole = repr((sorted(map(described, interchangeable)), others, contents))
    return hashlib.sha1(whole.encode(), usedforsecurity=False).hexdigest()[:16]
