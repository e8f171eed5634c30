"""Leaving the poller: what lies ahead is in the main tables, and where the last poll ended nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from duetime.app.follow_ups import FOLLOW_UPS, follow_up
from duetime.app.reminders import reminder
from duetime.app.tables import Event, Participation, User
from duetime.errors import BadUsage
from duetime.interface import Destination, Notification
from duetime.settings import Settings


def hand_over(settings: Settings, engine: Engine, to: Destination, since: datetime | None) -> int:
    """Schedule there whatever is due after `since`, in one transaction; return how many that were.

    Raises:
        BadUsage: nobody said since when, or a poller still runs.
    """
    from pull_worker.celeryapp import app  # reads the environment

    if since is None:
        raise BadUsage(
            "pull_worker keeps no record of where its last poll ended: stop its servers, take the end of the last "
            "window from their logs (poll window=BEGINNING/END), and give it as --since END"
        )
    if running := app.control.ping(timeout=1.0):
        names = ", ".join(sorted(name for one in running for name in one))
        raise BadUsage(f"{names} would go on polling, and deliver what was moved: stop it first")
    with Session(engine) as session:
        ahead = list(lying_ahead(session, settings, since))
        for notification in ahead:
            to.take(notification, session=session)
        session.commit()
    return len(ahead)


def lying_ahead(session: Session, settings: Settings, since: datetime) -> Iterator[Notification]:
    """Reminders and follow-ups due after `since`, and all that is to be done inside the database and was not."""
    going = (
        select(Participation)
        .join(Participation.event)
        .where(Event.starts_at > since + settings.reminder_lead)
        .where(Event.status == "scheduled", Participation.status == "going")
        .order_by(Participation.event_id, Participation.user_id)
    )
    for participation in session.scalars(going):
        yield reminder(participation, lead=settings.reminder_lead)
    for what in FOLLOW_UPS.values():
        rows = session.execute(
            select(what.table, User.address)
            .join(User, User.id == what.table.user_id)
            .where(what.table.status == "open")
        )
        for row, address in rows:
            notification = follow_up(what, row, address, time_scale=settings.time_scale)
            if what.becomes or notification.due_at > since:
                yield notification
