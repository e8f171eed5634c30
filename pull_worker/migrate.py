"""Leaving the poller: what lies ahead is in the main tables, and where the last poll ended nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from duetime.app.follow_ups import FOLLOW_UPS, notification_for
from duetime.app.reminders import reminder
from duetime.app.tables import Event, Participation, User
from duetime.errors import BadUsage
from duetime.interface import MigrationTarget, Notification
from duetime.settings import Settings


def migrate(settings: Settings, engine: Engine, to: MigrationTarget, since: datetime | None) -> int:
    """Schedule there whatever the last poll, whose window ended at `since`, did not look at; return how many moved."""
    moved = 0
    with Session(engine) as session:
        # Read first, and looked at again one by one: users go on meanwhile.
        for notification in list(still_ahead(session, settings, since or datetime.now(UTC))):
            moved += to.accept_if_unchanged(notification, session=session)
            session.commit()
    return moved


def check_can_migrate(_settings: Settings, since: datetime | None) -> None:
    """Asked before anything is switched.

    Raises:
        BadUsage: nobody said since when, or a poller still runs.
    """
    from pull_worker.celeryapp import app  # reads the environment

    if since is None:
        raise BadUsage(
            "pull_worker keeps no record of where its last poll ended: stop its servers, take the end of the last "
            "window from their logs (poll window=BEGINNING/END), and give it as --since END"
        )
    answered = {name for one in app.control.ping(timeout=1.0) or () for name in one}
    if pollers := sorted(name for name in answered if name.endswith("@pull_worker")):
        raise BadUsage(f"{', '.join(pollers)} would go on polling, and deliver what was moved: stop it first")


def still_ahead(session: Session, settings: Settings, since: datetime) -> Iterator[Notification]:
    """What starts, or is due a lead time before it would start, after `since`; and all that is inside and not done.

    A poll's window is of starts, so what it ends with is a lead time after the last due time that it looked at.
    """
    going = (
        select(Participation)
        .join(Participation.event)
        .where(Event.starts_at > since)
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
            notification = notification_for(what, row, address, time_scale=settings.time_scale)
            if what.sets_status or notification.due_at > since - settings.reminder_lead:
                yield notification
