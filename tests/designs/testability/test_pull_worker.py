"""Testing the poller takes rows of the application's tables, because the poller reads only those."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.app.tables import Event, Participation, User
from duetime.clock import system_clock
from duetime.interface import Notification
from pull_worker.poll import poll
from tests.designs.testability.behaviours import *  # noqa: F403 - the same tests for each design

LEAD = timedelta(minutes=10)
SECOND = timedelta(seconds=1)


class PollerWorld:
    rows = 0

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now = system_clock()
        self.revisions: list[int] = []
        with Session(engine) as session:
            session.add(User(id=1, name="user", address="a@b.example"))
            session.commit()
        self.rows += 1

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.revisions.append(notification.revision)

    def schedule(self, revision: int, *, due_in_s: float) -> None:
        starts_at = self.now + timedelta(seconds=due_in_s) + LEAD
        with Session(self.engine) as session:
            event = session.get(Event, 1)
            if event is None:
                event = Event(id=1, title="Talk", starts_at=starts_at, ends_at=starts_at + LEAD)
                event.participations = [Participation(user_id=1)]
                session.add(event)
                self.rows += 2
            event.starts_at = starts_at
            event.participations[0].reminder_revision = revision
            session.commit()

    def cancel(self, revision: int) -> None:
        with Session(self.engine) as session:
            session.get_one(Event, 1).status = "cancelled"
            session.commit()

    def pass_s(self, seconds: float) -> None:
        until = self.now + timedelta(seconds=seconds)
        while self.now < until:  # one poll per interval, because a longer step would leave a gap
            self.now = min(self.now + SECOND, until)
            with Session(self.engine) as session:
                poll(session, self, now=self.now, lead=LEAD, interval=SECOND)

    def delivered(self) -> list[int]:
        return self.revisions


@pytest.fixture
def world(engine: Engine) -> PollerWorld:
    return PollerWorld(engine)
