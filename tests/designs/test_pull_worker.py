"""The naive poll: which reminders its window covers, and which no window covers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.app.tables import Event, Participation, User
from duetime.interface import Notification
from pull_worker.poll import poll

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LEAD = timedelta(minutes=10)
MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)


class RecordingGateway:
    """A gateway that records the deliveries."""

    def __init__(self) -> None:
        self.ops: list[str] = []

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.ops.append(notification.op)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        session.add(User(id=1, name="user", address="1@example.org"))
        session.commit()
        yield session


def add_event(session: Session, number: int, *, due_at: datetime, status: str = "scheduled") -> None:
    starts_at = due_at + LEAD
    event = Event(id=number, title="Talk", starts_at=starts_at, ends_at=starts_at + MINUTE, status=status)
    event.participations = [Participation(user_id=1, reminder_revision=1)]
    session.add(event)
    session.commit()


def polled(session: Session, *, now: datetime) -> list[str]:
    gateway = RecordingGateway()
    poll(session, gateway, now=now, lead=LEAD, interval=MINUTE)
    return gateway.ops


def test_both_ends_of_the_window_are_included(session: Session) -> None:
    add_event(session, 1, due_at=NOON - MINUTE - MICROSECOND)
    add_event(session, 2, due_at=NOON - MINUTE)
    add_event(session, 3, due_at=NOON)
    add_event(session, 4, due_at=NOON + MICROSECOND)

    assert polled(session, now=NOON) == ["event-reminder:2:1/1", "event-reminder:3:1/1"]


def test_a_poll_returns_the_window_it_looked_at(session: Session) -> None:
    window = poll(session, RecordingGateway(), now=NOON, lead=LEAD, interval=MINUTE)

    assert window == (NOON + LEAD - MINUTE, NOON + LEAD)


def test_a_reminder_due_on_the_tick_is_sent_by_two_polls(session: Session) -> None:
    add_event(session, 1, due_at=NOON)

    assert polled(session, now=NOON) == polled(session, now=NOON + MINUTE) == ["event-reminder:1:1/1"]


def test_a_reminder_due_between_two_late_polls_is_sent_by_none(session: Session) -> None:
    add_event(session, 1, due_at=NOON + MICROSECOND)

    assert polled(session, now=NOON) == polled(session, now=NOON + MINUTE + 2 * MICROSECOND) == []


def test_a_cancelled_event_or_one_that_the_participant_left_is_not_sent(session: Session) -> None:
    add_event(session, 1, due_at=NOON, status="cancelled")
    add_event(session, 2, due_at=NOON)
    session.get_one(Participation, (2, 1)).status = "left"
    session.commit()

    assert polled(session, now=NOON) == []


def test_what_a_rolled_back_savepoint_wrote_is_not_sent(session: Session) -> None:
    def write(number: int) -> None:
        event = Event(id=number, title="Talk", starts_at=NOON + LEAD, ends_at=NOON + LEAD + MINUTE)
        event.participations = [Participation(user_id=1, reminder_revision=1)]
        session.add(event)
        session.flush()

    with session.begin_nested():
        write(1)
    with session.begin_nested() as savepoint:
        write(2)
        savepoint.rollback()
    session.commit()
    with session.begin_nested():
        write(3)
    session.rollback()

    assert polled(session, now=NOON) == ["event-reminder:1:1/1"]
