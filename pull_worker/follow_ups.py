"""The other use cases: a query for each table, because that is where their schedules are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Double, Interval, func, literal, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from duetime.app.follow_ups import FOLLOW_UPS, FollowUp, notification_for
from duetime.app.tables import FollowUpSubject, User
from duetime.interface import Notification
from duetime.runtime.effects import Effects

log = logging.getLogger(__name__)


def due_at(what: FollowUp, *, time_scale: float) -> Any:  # SQLAlchemy's expressions of an instant
    """When it follows, as PostgreSQL computes it from the row.

    On the column's side of the comparison, where no index can serve it: a month before now is not the same question.
    What was bought on the 29th, 30th or 31st of January is due on the last of February, whose "month before" is the
    28th alone.
    """
    after, began_at = what.after, what.table.began_at
    long = func.make_interval(0, after.months, 0, after.days, after.hours, after.minutes, type_=Interval)
    due = func.timezone("UTC", func.timezone("UTC", began_at) + long)
    return began_at + (due - began_at) / literal(time_scale, Double)


def following(
    session: Session, *, due_from: datetime, due_until: datetime, time_scale: float
) -> Sequence[Notification]:
    """What leaves the building and falls due in that window, both ends included; as for reminders, nobody remembers."""
    found = []
    for what in FOLLOW_UPS.values():
        if what.sets_status is None:
            due = due_at(what, time_scale=time_scale)
            rows = session.execute(
                select(what.table, User.address)
                .join(User, User.id == what.table.user_id)
                .where(due.between(due_from, due_until), what.table.status == "open")
                .order_by(due)
            )
            found += [notification_for(what, row, address, time_scale=time_scale) for row, address in rows]
    return found


def settle_overdue(session: Session, effects: Effects, *, now: datetime, time_scale: float) -> int:
    """Do what is to be done inside the database, and return how much that was.

    Here the poller is at its best. The status says whether it was done, so no window is needed: downtime delays it, and
    a second server finds it locked or done. Row and effect are one transaction.
    """
    done = 0
    for what in FOLLOW_UPS.values():
        if what.sets_status is None:
            continue
        for row, address in _overdue(session, what, now=now, time_scale=time_scale):
            effect = effects.of(notification_for(what, row, address, time_scale=time_scale))
            if effect:
                try:
                    with session.begin_nested() as alone:
                        alone.session.connection().exec_driver_sql(*effect)
                except SQLAlchemyError as error:
                    log.warning("%s:%s stays overdue: %s", what.kind, row.id, error)
                else:
                    done += 1
        session.commit()
    return done


def _overdue(
    session: Session, what: FollowUp, *, now: datetime, time_scale: float
) -> Sequence[tuple[FollowUpSubject, str]]:
    due = due_at(what, time_scale=time_scale)
    rows = session.execute(
        select(what.table, User.address)
        .join(User, User.id == what.table.user_id)
        .where(due <= now, what.table.status == "open")
        .order_by(due)
        .with_for_update(of=what.table, skip_locked=True)
    )
    return [(row, address) for row, address in rows]
