"""The use cases of events call the scheduler once for each participant, in the transaction of the change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.app.tables import User
from duetime.app.use_cases import Application
from duetime.interface import Notification, Scheduler

LEAD = timedelta(minutes=10)
START = datetime(2030, 1, 1, 12, tzinfo=UTC)


class RecordingScheduler(Scheduler):
    """A scheduler that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []
        self.last: Notification | None = None

    def schedule(self, notification: Notification, *, session: Session) -> None:
        self.calls.append(("schedule", notification.key, notification.revision))
        self.last = notification

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        self.calls.append(("cancel", key, revision))


@pytest.fixture
def scheduler() -> RecordingScheduler:
    return RecordingScheduler()


@pytest.fixture
def application(scheduler: RecordingScheduler, engine: Engine) -> Application:
    with Session(engine) as session:
        session.add_all(User(id=number, name=f"user {number}", address=f"{number}@old.example") for number in (1, 2, 3))
        session.commit()
    application = Application(scheduler, reminder_lead=LEAD)
    with Session(engine) as session:
        application.create_event(session, event_id=42, title="Talk", starts_at=START, user_ids=[1, 2])
    return application


def test_creating_an_event_schedules_a_reminder_for_each_participant(
    application: Application, scheduler: RecordingScheduler
) -> None:
    assert scheduler.calls == [("schedule", "event-reminder:42:1", 1), ("schedule", "event-reminder:42:2", 1)]
    assert scheduler.last is not None
    assert scheduler.last.due_at == START - LEAD
    assert scheduler.last.recipient == "2@old.example"


def test_moving_an_event_schedules_the_next_revision(
    application: Application, scheduler: RecordingScheduler, engine: Engine
) -> None:
    with Session(engine) as session:
        application.move_event(session, event_id=42, starts_at=START + timedelta(hours=2))

    assert scheduler.calls[2:] == [("schedule", "event-reminder:42:1", 2), ("schedule", "event-reminder:42:2", 2)]
    assert scheduler.last is not None
    assert scheduler.last.due_at == START + timedelta(hours=2) - LEAD


def test_cancelling_an_event_cancels_the_reminders_of_its_participants(
    application: Application, scheduler: RecordingScheduler, engine: Engine
) -> None:
    with Session(engine) as session:
        application.leave_event(session, event_id=42, user_id=1)
    with Session(engine) as session:
        application.cancel_event(session, event_id=42)

    assert scheduler.calls[2:] == [("cancel", "event-reminder:42:1", 2), ("cancel", "event-reminder:42:2", 2)]


def test_a_participant_who_leaves_and_joins_again_gets_a_newer_revision(
    application: Application, scheduler: RecordingScheduler, engine: Engine
) -> None:
    with Session(engine) as session:
        application.leave_event(session, event_id=42, user_id=1)
    with Session(engine) as session:
        application.join_event(session, event_id=42, user_id=1)
    with Session(engine) as session:
        application.join_event(session, event_id=42, user_id=3)

    assert scheduler.calls[2:] == [
        ("cancel", "event-reminder:42:1", 2),
        ("schedule", "event-reminder:42:1", 3),
        ("schedule", "event-reminder:42:3", 1),
    ]


def test_a_new_address_applies_to_pending_reminders_only(
    application: Application, scheduler: RecordingScheduler, engine: Engine
) -> None:
    with Session(engine) as session:
        application.create_event(session, event_id=43, title="Later", starts_at=START + timedelta(days=1), user_ids=[1])
    with Session(engine) as session:
        application.change_address(session, user_id=1, address="1@new.example", now=START)

    assert scheduler.calls[3:] == [("schedule", "event-reminder:43:1", 2)]
    assert scheduler.last is not None
    assert scheduler.last.recipient == "1@new.example"
