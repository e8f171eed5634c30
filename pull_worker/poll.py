"""One poll: deliver reminders to the participants of events that start one lead time from now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, contains_eager

from duetime.app.reminders import reminder
from duetime.app.tables import Event, Participation
from duetime.clock import utc
from duetime.interface import Notification
from duetime.runtime.gateway import Gateway
from pull_worker.follow_ups import follow_ups_due_between

log = logging.getLogger(__name__)


class Window(NamedTuple):
    """The start times that one poll looks for, both ends included."""

    starts_from: datetime
    starts_until: datetime


Poll = Callable[..., Window]
"""``poll`` or a variant with the same parameters."""


def window(now: datetime, *, lead: timedelta, interval: timedelta) -> Window:
    """Return what became due since a poll exactly one `interval` ago. `now` is in UTC, as from ``system_clock``."""
    return Window(now + lead - interval, now + lead)


def participants_of_events_starting_in(session: Session, window: Window) -> Sequence[Participation]:
    """Return the participants of events that start in `window`, earliest start first.

    The arithmetic is on the other side of the comparison, so that an index on the start time can serve it.
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
    """Return the reminders for starts in `window`, and the follow-ups due one lead time before these starts."""
    participants = participants_of_events_starting_in(session, window)
    due_from, due_until = (utc(end) - lead for end in window)
    return [
        *(reminder(participation, lead=lead) for participation in participants),
        *follow_ups_due_between(session, due_from, due_until, time_scale=time_scale),
    ]


def poll(
    session: Session, gateway: Gateway, *, now: datetime, lead: timedelta, interval: timedelta, time_scale: float = 1.0
) -> Window:
    """Deliver what becomes due in this poll's window, and return the window.

    Nothing is recorded, so a window may be polled twice or never.
    """
    polled = window(now, lead=lead, interval=interval)
    notifications = becoming_due(session, polled, lead=lead, time_scale=time_scale)
    for notification in notifications:
        gateway.deliver(notification)
    log.info(
        "poll window=%s/%s delivered=%d",
        polled.starts_from.isoformat(),
        polled.starts_until.isoformat(),
        len(notifications),
    )
    return polled
