"""The use cases of events. Each is one transaction, which changes the main tables and calls the scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import insert, literal, select
from sqlalchemy.orm import Session

from duetime.app.follow_ups import FollowUps
from duetime.app.reminders import reminder, reminder_key, reminder_to
from duetime.app.tables import Event, Participation, User
from duetime.clock import utc
from duetime.interface import Scheduler


class Application:
    """The use cases of events.

    reminder_lead: how long before the start of an event its participants are reminded.
    time_scale: follow-ups are due this many times sooner than in production.
    """

    def __init__(self, notifications: Scheduler, *, reminder_lead: timedelta, time_scale: float = 1.0) -> None:
        self._notifications = notifications
        self._follow_ups = FollowUps(notifications, time_scale=time_scale)
        self._lead = reminder_lead

    def create_event(
        self, session: Session, *, event_id: int, title: str, starts_at: datetime, user_ids: Iterable[int]
    ) -> None:
        """Create an event with participants and schedule a reminder for each.

        Raises:
            KeyError: a user does not exist.
        """
        starts_at = utc(starts_at)
        event = Event(id=event_id, title=title, starts_at=starts_at, ends_at=starts_at + timedelta(hours=1))
        session.add(event)
        session.flush()
        invited = list(user_ids)
        addressed = select(User.id, User.address).where(User.id.in_(invited))
        address_of = {user.id: user.address for user in session.execute(addressed)}
        # One statement without ORM objects: an event may have a thousand participants.
        participations = select(literal(event_id), User.id, literal("going"), literal(1)).where(User.id.in_(invited))
        columns = ["event_id", "user_id", "status", "reminder_revision"]
        session.execute(insert(Participation).from_select(columns, participations))
        reminders = [
            reminder_to(user_id, address_of[user_id], event=event, revision=1, lead=self._lead) for user_id in invited
        ]
        self._notifications.schedule_many(reminders, session=session)
        session.commit()

    def move_event(self, session: Session, *, event_id: int, starts_at: datetime) -> None:
        """Move the event and its participants' reminders to another time."""
        event = _locked_event(session, event_id)
        length = utc(event.ends_at) - utc(event.starts_at)
        # In UTC, or SQLAlchemy takes 2:05 in summer time and 2:05 in winter time for equal, and updates nothing.
        event.starts_at = utc(starts_at)
        event.ends_at = utc(starts_at) + length
        self._schedule(session, _going(event))
        session.commit()

    def cancel_event(self, session: Session, *, event_id: int) -> None:
        """Cancel the event and its participants' reminders."""
        event = _locked_event(session, event_id)
        event.status = "cancelled"
        for participation in _going(event):
            self._cancel(session, participation)
        session.commit()

    def join_event(self, session: Session, *, event_id: int, user_id: int) -> None:
        """Add a participant, or one who left, and schedule a reminder."""
        event = _locked_event(session, event_id)
        participation = session.get(Participation, (event_id, user_id))
        if participation is None:
            participation = Participation(event=event, user=session.get_one(User, user_id))
            session.add(participation)
        participation.status = "going"
        self._schedule(session, [participation])
        session.commit()

    def leave_event(self, session: Session, *, event_id: int, user_id: int) -> None:
        """End a participation and cancel its reminder."""
        _locked_event(session, event_id)
        participation = session.get_one(Participation, (event_id, user_id))
        participation.status = "left"
        self._cancel(session, participation)
        session.commit()

    def change_address(self, session: Session, *, user_id: int, address: str, now: datetime) -> None:
        """Change a user's address and schedule the user's pending notifications again with it."""
        # key_share: the primary key does not change, so inserts that refer to this user need not wait.
        session.get_one(User, user_id, with_for_update={"key_share": True}).address = address
        upcoming = (
            select(Participation)
            .join(Participation.event)
            .where(Participation.user_id == user_id, Participation.status == "going")
            .where(Event.status == "scheduled", Event.starts_at > utc(now) + self._lead)
            .order_by(Participation.event_id)
            # Lock both: after waiting for the event alone, the participation would be read in its earlier state.
            .with_for_update(of=(Event, Participation))
        )
        self._schedule(session, session.scalars(upcoming).all())
        self._follow_ups.readdress(session, user_id=user_id, now=now)
        session.commit()

    def _schedule(self, session: Session, participations: Sequence[Participation]) -> None:
        for participation in participations:
            # A new participation has no revision yet.
            participation.reminder_revision = (participation.reminder_revision or 0) + 1
        session.flush()
        reminders = [reminder(participation, lead=self._lead) for participation in participations]
        self._notifications.schedule_many(reminders, session=session)

    def _cancel(self, session: Session, participation: Participation) -> None:
        participation.reminder_revision += 1
        self._notifications.cancel(
            reminder_key(participation.event_id, participation.user_id),
            revision=participation.reminder_revision,
            session=session,
        )


def _locked_event(session: Session, event_id: int) -> Event:
    # The row lock orders the changes of one event, and so the revisions of its reminders.
    return session.get_one(Event, event_id, with_for_update=True)


def _going(event: Event) -> list[Participation]:
    return [participation for participation in event.participations if participation.status == "going"]
