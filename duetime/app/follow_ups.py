"""What follows a while after something began, unless something else happens first: five of the six use cases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from dateutil.relativedelta import relativedelta
from sqlalchemy import select
from sqlalchemy.orm import Session

from duetime.app.tables import Errand, FollowUpSubject, Order, Purchase, Reservation, Trial, User
from duetime.interface import Notification, Scheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """What is due `after` the beginning of a row of `table`, in UTC, unless it is called off.

    kind: of the notification, and the beginning of its key.
    called_off_by: the status that says so.
    becomes: the status that the follow-up sets, inside the database; None for one that leaves the building.
    """

    kind: str
    table: type[FollowUpSubject]
    after: relativedelta
    called_off_by: str
    sets_status: str | None = None

    def due_at(self, began_at: datetime, *, time_scale: float = 1.0) -> datetime:
        """A month after 31 January is the last of February; `time_scale` times as soon where a run cannot wait."""
        began_at = began_at.astimezone(UTC)
        return began_at + ((began_at + self.after) - began_at) / time_scale


END_TRIAL = FollowUp(
    kind="end-trial", table=Trial, after=relativedelta(days=14), called_off_by="upgraded", sets_status="ended"
)
ASK_FOR_REVIEW = FollowUp(
    kind="ask-for-review", table=Purchase, after=relativedelta(months=1), called_off_by="refunded"
)
CANCEL_RESERVATION = FollowUp(
    kind="cancel-reservation",
    table=Reservation,
    after=relativedelta(minutes=15),
    called_off_by="seated",
    sets_status="cancelled",
)
PAY_ERRAND = FollowUp(
    kind="pay-errand", table=Errand, after=relativedelta(days=3), called_off_by="complained", sets_status="paid"
)
CANCEL_ORDER = FollowUp(
    kind="cancel-order", table=Order, after=relativedelta(hours=48), called_off_by="paid", sets_status="cancelled"
)
FOLLOW_UPS = {one.kind: one for one in (END_TRIAL, ASK_FOR_REVIEW, CANCEL_RESERVATION, PAY_ERRAND, CANCEL_ORDER)}


class FollowUps:
    """The use cases that begin, postpone and call off what has a follow-up, over one notifications module.

    time_scale: how many times sooner than in life everything is due.
    """

    def __init__(self, notifications: Scheduler, *, time_scale: float = 1.0) -> None:
        self._notifications = notifications
        self._time_scale = time_scale

    def begin(self, session: Session, what: FollowUp, *, number: int, user_id: int, began_at: datetime) -> None:
        """Sign up, buy, reserve, do an errand, order: `what` follows unless it is called off."""
        row = what.table(id=number, user_id=user_id, began_at=began_at, status="open", revision=0)
        session.add(row)
        self._schedule(session, what, row)
        session.commit()

    def postpone(self, session: Session, what: FollowUp, *, number: int, began_at: datetime) -> None:
        """Count from another time on: a reservation for later, a trial prolonged."""
        row = session.get_one(what.table, number, with_for_update=True)
        row.began_at = began_at
        if row.status == "open":
            self._schedule(session, what, row)
        session.commit()

    def call_off(self, session: Session, what: FollowUp, *, number: int) -> None:
        """Upgrade, refund, arrive, complain, pay: nothing follows any more, unless it already has."""
        row = session.get_one(what.table, number, with_for_update=True)
        if row.status == "open":
            row.status = what.called_off_by
        row.revision += 1
        self._notifications.cancel(key_of(what, number), revision=row.revision, session=session)
        session.commit()

    def readdress(self, session: Session, *, user_id: int, now: datetime) -> None:
        """Whatever is still to leave the building for this user goes to the present address; commits nothing."""
        for what in FOLLOW_UPS.values():
            if what.sets_status is None:
                mine = select(what.table).where(what.table.user_id == user_id, what.table.status == "open")
                for row in session.scalars(mine.order_by(what.table.id).with_for_update()):
                    if what.due_at(row.began_at, time_scale=self._time_scale) > now:
                        self._schedule(session, what, row)

    def _schedule(self, session: Session, what: FollowUp, row: FollowUpSubject) -> None:
        row.revision += 1
        session.flush()
        address = session.scalars(select(User.address).where(User.id == row.user_id)).one()
        notification = follow_up(what, row, address, time_scale=self._time_scale)
        self._notifications.schedule(notification, session=session)


def key_of(what: FollowUp, number: int) -> str:
    """The idempotency key of what follows on one row."""
    return f"{what.kind}:{number}"


def follow_up(what: FollowUp, row: FollowUpSubject, address: str, *, time_scale: float) -> Notification:
    """What follows on `row` as it stands now."""
    return Notification(
        key=key_of(what, row.id),
        revision=row.revision,
        kind=what.kind,
        recipient=address,
        due_at=what.due_at(row.began_at, time_scale=time_scale),
        payload={"id": row.id},
    )
