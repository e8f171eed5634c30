"""Five of the six use cases: an action that follows some time after a row was created, unless it is cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dateutil.relativedelta import relativedelta
from sqlalchemy import select
from sqlalchemy.orm import Session

from duetime.app.tables import Errand, FollowUpSubject, Order, Purchase, Reservation, Trial, User
from duetime.clock import utc
from duetime.interface import Notification, Scheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """An action due `after` the time `began_at` of a row of `table`, counted in UTC.

    kind: the kind of the notification and the prefix of its key.
    cancelled_by: the row's status that cancels the follow-up, for instance ``upgraded`` for a trial.
    sets_status: the status that the follow-up sets inside the database; None if it sends a message instead.
    """

    kind: str
    table: type[FollowUpSubject]
    after: relativedelta
    cancelled_by: str
    sets_status: str | None = None

    def due_at(self, began_at: datetime, *, time_scale: float = 1.0) -> datetime:
        """Return the due time, `time_scale` times sooner than `after`.

        A month after 31 January is the last day of February.
        """
        began_at = utc(began_at)
        return began_at + ((began_at + self.after) - began_at) / time_scale


END_TRIAL = FollowUp(
    kind="end-trial", table=Trial, after=relativedelta(days=14), cancelled_by="upgraded", sets_status="ended"
)
ASK_FOR_REVIEW = FollowUp(kind="ask-for-review", table=Purchase, after=relativedelta(months=1), cancelled_by="refunded")
CANCEL_RESERVATION = FollowUp(
    kind="cancel-reservation",
    table=Reservation,
    after=relativedelta(minutes=15),
    cancelled_by="seated",
    sets_status="cancelled",
)
PAY_ERRAND = FollowUp(
    kind="pay-errand", table=Errand, after=relativedelta(days=3), cancelled_by="complained", sets_status="paid"
)
CANCEL_ORDER = FollowUp(
    kind="cancel-order", table=Order, after=relativedelta(hours=48), cancelled_by="paid", sets_status="cancelled"
)
FOLLOW_UPS = {
    follow_up.kind: follow_up for follow_up in (END_TRIAL, ASK_FOR_REVIEW, CANCEL_RESERVATION, PAY_ERRAND, CANCEL_ORDER)
}


class FollowUps:
    """The use cases that begin, postpone and cancel a follow-up. Each is one transaction.

    time_scale: follow-ups are due this many times sooner than in production.
    """

    def __init__(self, notifications: Scheduler, *, time_scale: float = 1.0) -> None:
        self._notifications = notifications
        self._time_scale = time_scale

    def begin(self, session: Session, follow_up: FollowUp, *, number: int, user_id: int, began_at: datetime) -> None:
        """Create row `number` and schedule its follow-up: a sign-up, a purchase, a reservation, an errand, an order."""
        row = follow_up.table(id=number, user_id=user_id, began_at=utc(began_at), status="open", revision=0)
        session.add(row)
        self._schedule(session, follow_up, row)
        session.commit()

    def postpone(self, session: Session, follow_up: FollowUp, *, number: int, began_at: datetime) -> None:
        """Count from a later time, for instance when a reservation is moved or a trial prolonged."""
        row = session.get_one(follow_up.table, number, with_for_update=True)
        # In UTC, or SQLAlchemy takes 2:05 in summer time and 2:05 in winter time for equal, and updates nothing.
        row.began_at = utc(began_at)
        if row.status == "open":
            self._schedule(session, follow_up, row)
        session.commit()

    def cancel(self, session: Session, follow_up: FollowUp, *, number: int) -> None:
        """Set the status that cancels the follow-up, unless the follow-up has already happened."""
        row = session.get_one(follow_up.table, number, with_for_update=True)
        if row.status == "open":
            row.status = follow_up.cancelled_by
        row.revision += 1
        self._notifications.cancel(key_of(follow_up, number), revision=row.revision, session=session)
        session.commit()

    def readdress(self, session: Session, *, user_id: int, now: datetime) -> None:
        """Schedule the user's pending messages again with the current address; does not commit."""
        for follow_up in FOLLOW_UPS.values():
            if follow_up.sets_status is None:
                table = follow_up.table
                open_rows = select(table).where(table.user_id == user_id, table.status == "open")
                for row in session.scalars(open_rows.order_by(table.id).with_for_update()):
                    if follow_up.due_at(row.began_at, time_scale=self._time_scale) > now:
                        self._schedule(session, follow_up, row)

    def _schedule(self, session: Session, follow_up: FollowUp, row: FollowUpSubject) -> None:
        row.revision += 1
        session.flush()
        address = session.scalars(select(User.address).where(User.id == row.user_id)).one()
        notification = notification_for(follow_up, row, address, time_scale=self._time_scale)
        self._notifications.schedule(notification, session=session)


def key_of(follow_up: FollowUp, number: int) -> str:
    return f"{follow_up.kind}:{number}"


def notification_for(follow_up: FollowUp, row: FollowUpSubject, address: str, *, time_scale: float) -> Notification:
    """Return the notification for the current state of `row`."""
    return Notification(
        key=key_of(follow_up, row.id),
        revision=row.revision,
        kind=follow_up.kind,
        recipient=address,
        due_at=follow_up.due_at(row.began_at, time_scale=time_scale),
        payload={"id": row.id},
    )
