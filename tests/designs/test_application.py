"""The use cases tell the scheduler what changed, once a participant, in the transaction that changes it."""

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


class Notebook(Scheduler):
    """A scheduler that writes down what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int]] = []
        self.last: Notification | None = None

    def schedule(self, notification: Notification, *, session: Session) -> None:
        self.told.append(("schedule", notification.key, notification.revision))
        self.last = notification

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        self.told.append(("cancel", key, revision))


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def application(notebook: Notebook, engine: Engine) -> Application:
    with Session(engine) as session:
        session.add_all(User(id=number, name=f"user {number}", address=f"{number}@old.example") for number in (1, 2, 3))
        session.commit()
    application = Application(notebook, reminder_lead=LEAD)
    with Session(engine) as session:
        application.create_event(session, event_id=42, title="Talk", starts_at=START, user_ids=[1, 2])
    return application


def test_creating_an_event_schedules_a_reminder_for_each_participant(
    application: Application, notebook: Notebook
) -> None:
    assert notebook.told == [("schedule", "event-reminder:42:1", 1), ("schedule", "event-reminder:42:2", 1)]
    assert notebook.last is not None
    assert notebook.last.due_at == START - LEAD
    assert notebook.last.recipient == "2@old.example"


def test_moving_an_event_schedules_the_next_revision(
    application: Application, notebook: Notebook, engine: Engine
) -> None:
    with Session(engine) as session:
        application.move_event(session, event_id=42, starts_at=START + timedelta(hours=2))

    assert notebook.told[2:] == [("schedule", "event-reminder:42:1", 2), ("schedule", "event-reminder:42:2", 2)]
    assert notebook.last is not None
    assert notebook.last.due_at == START + timedelta(hours=2) - LEAD


def test_calling_an_event_off_cancels_for_those_who_were_still_going(
    application: Application, notebook: Notebook, engine: Engine
) -> None:
    with Session(engine) as session:
        application.leave_event(session, event_id=42, user_id=1)
    with Session(engine) as session:
        application.cancel_event(session, event_id=42)

    assert notebook.told[2:] == [("cancel", "event-reminder:42:1", 2), ("cancel", "event-reminder:42:2", 2)]


def test_who_leaves_and_joins_again_is_reminded_under_a_newer_revision(
    application: Application, notebook: Notebook, engine: Engine
) -> None:
    with Session(engine) as session:
        application.leave_event(session, event_id=42, user_id=1)
    with Session(engine) as session:
        application.join_event(session, event_id=42, user_id=1)
    with Session(engine) as session:
        application.join_event(session, event_id=42, user_id=3)

    assert notebook.told[2:] == [
        ("cancel", "event-reminder:42:1", 2),
        ("schedule", "event-reminder:42:1", 3),
        ("schedule", "event-reminder:42:3", 1),
    ]


def test_a_new_address_reaches_the_reminders_that_are_still_to_come_and_no_others(
    application: Application, notebook: Notebook, engine: Engine
) -> None:
    with Session(engine) as session:
        application.create_event(session, event_id=43, title="Later", starts_at=START + timedelta(days=1), user_ids=[1])
    with Session(engine) as session:
        application.change_address(session, user_id=1, address="1@new.example", now=START)

    assert notebook.told[3:] == [("schedule", "event-reminder:43:1", 2)]
    assert notebook.last is not None
    assert notebook.last.recipient == "1@new.example"
