"""The other use cases: a query for each table, because the tables are their schedules."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Double, func, literal, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from duetime.app.follow_ups import FOLLOW_UPS, FollowUp, notification_for
from duetime.app.tables import FollowUpSubject, User
from duetime.interface import Notification
from duetime.runtime.effects import Effects

log = logging.getLogger(__name__)


def due_at(follow_up: FollowUp, *, time_scale: float) -> Any:  # SQLAlchemy's expressions of a time
    """Return the due time as an expression that PostgreSQL computes from the row.

    The arithmetic is on the column, where no index can serve it, because subtracting a month is not its inverse: from
    the 29th, 30th or 31st of January a month leads to the last of February, and back from there to the 28th alone.
    """
    after, began_at = follow_up.after, follow_up.table.began_at
    interval = func.make_interval(0, after.months, 0, after.days, after.hours, after.minutes)
    # On the wall clock of UTC, not of the session, whose days may have 23 or 25 hours.
    began_in_utc = func.timezone("UTC", began_at)
    after_in_utc = (began_in_utc + interval - began_in_utc) / literal(time_scale, Double)
    return func.timezone("UTC", began_in_utc + after_in_utc, type_=DateTime(timezone=True))


def follow_ups_due_between(
    session: Session, due_from: datetime, due_until: datetime, *, time_scale: float
) -> Sequence[Notification]:
    """Return the follow-ups for the gateway that fall due in that window, both ends included."""
    found = []
    for follow_up in FOLLOW_UPS.values():
        if follow_up.sets_status is None:
            due = due_at(follow_up, time_scale=time_scale)
            rows = session.execute(
                select(follow_up.table, User.address)
                .join(User, User.id == follow_up.table.user_id)
                .where(due.between(due_from, due_until), follow_up.table.status == "open")
                .order_by(due)
            )
            found += [notification_for(follow_up, row, address, time_scale=time_scale) for row, address in rows]
    return found


def settle_overdue(session: Session, effects: Effects, *, now: datetime, time_scale: float) -> int:
    """Do what is due inside the database; return how many rows.

    The status says whether a row is done, so no window is needed: downtime only delays it, and a second worker finds
    the row locked or done. Row and effect are one transaction.
    """
    settled = 0
    for follow_up in FOLLOW_UPS.values():
        if follow_up.sets_status is None:
            continue
        for row, address in _overdue(session, follow_up, now=now, time_scale=time_scale):
            effect = effects.of(notification_for(follow_up, row, address, time_scale=time_scale))
            if effect:
                try:
                    with session.begin_nested() as savepoint:
                        savepoint.session.connection().exec_driver_sql(*effect)
                except SQLAlchemyError as error:
                    log.warning("%s:%s stays overdue: %s", follow_up.kind, row.id, error)
                else:
                    settled += 1
        session.commit()
    return settled


def _overdue(
    session: Session, follow_up: FollowUp, *, now: datetime, time_scale: float
) -> Sequence[tuple[FollowUpSubject, str]]:
    due = due_at(follow_up, time_scale=time_scale)
    rows = session.execute(
        select(follow_up.table, User.address)
        .join(User, User.id == follow_up.table.user_id)
        .where(due <= now, follow_up.table.status == "open")
        .order_by(due)
        .with_for_update(of=follow_up.table, skip_locked=True)
    )
    return [(row, address) for row, address in rows]
