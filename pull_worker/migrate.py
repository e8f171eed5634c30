"""Moves what is still ahead to another design. The main tables hold it; how far the last poll got they do not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from duetime.app.follow_ups import FOLLOW_UPS, notification_for
from duetime.app.reminders import reminder
from duetime.app.tables import Event, Participation, User
from duetime.clock import utc
from duetime.errors import BadUsage
from duetime.interface import MigrationTarget, Notification
from duetime.settings import Settings
from pull_worker.celeryapp import make_app
from pull_worker.poll import poll

REPLY_WITHIN_S = 1.0


def migrate(settings: Settings, engine: Engine, target: MigrationTarget, since: datetime | None) -> int:
    """Schedule in `target` what the last poll did not look at; return how many.

    since: the end of the last poll's window.
    """
    moved = 0
    with Session(engine) as session:
        # The list is read first. The target skips what users change meanwhile.
        for notification in list(still_ahead(session, settings, since or datetime.now(UTC))):
            moved += target.accept_if_unchanged(notification, session=session)
            session.commit()
    return moved


def check_can_migrate(settings: Settings, since: datetime | None) -> None:
    """Check that a migration can start.

    Raises:
        BadUsage: `since` is missing, or a poller is still running.
    """
    if since is None:
        raise BadUsage(
            "pull_worker keeps no record of where its last poll ended: stop its workers, take the end of the last "
            "window from their logs (poll window=BEGINNING/END), and give it as --since END"
        )
    with make_app(settings, poll) as app:
        replies = app.control.ping(timeout=REPLY_WITHIN_S) or ()
    names = {name for reply in replies for name in reply}
    if pollers := sorted(name for name in names if name.endswith("@pull_worker")):
        raise BadUsage(f"{', '.join(pollers)} would go on polling and deliver what was moved; stop it first")


def still_ahead(session: Session, settings: Settings, since: datetime) -> Iterator[Notification]:
    """Yield what the polls up to `since` did not cover, and all that is done inside the database and is still open.

    A window is of start times. Its end is one lead time after the last due time that the poll covered.
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
    for follow_up in FOLLOW_UPS.values():
        rows = session.execute(
            select(follow_up.table, User.address)
            .join(User, User.id == follow_up.table.user_id)
            .where(follow_up.table.status == "open")
        )
        for row, address in rows:
            notification = notification_for(follow_up, row, address, time_scale=settings.time_scale)
            if follow_up.sets_status or notification.due_at > utc(since) - settings.reminder_lead:
                yield notification
