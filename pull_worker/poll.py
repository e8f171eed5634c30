"""One poll: who takes part in an event that starts in a lead time from now?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, contains_eager

from duetime.app.reminders import reminder
from duetime.app.tables import Event, Participation
from duetime.interface import Notification
from duetime.runtime.gateway import Gateway
from pull_worker.follow_ups import following

log = logging.getLogger(__name__)


class Window(NamedTuple):
    """The starts that one poll looks for, both ends included."""

    starts_from: datetime
    starts_until: datetime


def window(now: datetime, *, lead: timedelta, interval: timedelta) -> Window:
    """What became due since a poll one `interval` ago, if there was one, and if it ran exactly then."""
    return Window(now + lead - interval, now + lead)


def participants_of_events_starting_in(session: Session, window: Window) -> Sequence[Participation]:
    """Everyone who is going to an event that starts in `window`, earliest start first.

    The arithmetic was done on the other side of the comparison, so an index on the start can serve it.
    """
    return session.scalars(
        select(Participation)
        .join(Participation.event)
        .join(Participation.user)
        .where(Event.starts_at.between(*window))
        .where(Event.status == "scheduled", Participation.status == "going")
        .order_by(Event.starts_at, Participation.user_id)
        .options(contains_eager(Participation.event), contains_eager(Participation.user))
    ).all()


def becoming_due(
    session: Session, window: Window, *, lead: timedelta, time_scale: float = 1.0
) -> Sequence[Notification]:
    """The reminders for starts in `window`, and whatever else falls due a lead time before."""
    found = participants_of_events_starting_in(session, window)
    due_from, due_until = window.starts_from - lead, window.starts_until - lead
    return [
        *(reminder(participation, lead=lead) for participation in found),
        *following(session, due_from=due_from, due_until=due_until, time_scale=time_scale),
    ]


def poll(
    session: Session, gateway: Gateway, *, now: datetime, lead: timedelta, interval: timedelta, time_scale: float = 1.0
) -> Window:
    """Deliver what this poll's window holds, and return the window.

    Nothing is written down: whether this window was polled before, or ever will be, nobody can say.
    """
    looked_at = window(now, lead=lead, interval=interval)
    found = becoming_due(session, looked_at, lead=lead, time_scale=time_scale)
    for notification in found:
        gateway.deliver(notification)
    log.info(
        "poll window=%s/%s delivered=%d",
        looked_at.starts_from.isoformat(),
        looked_at.starts_until.isoformat(),
        len(found),
    )
    return looked_at
