"""Testing the read model takes a table and a function."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from duetime.clock import system_clock
from duetime.interface import Notification
from push_readmodel.drain import drain
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata, pending
from tests.designs.testability.behaviours import *  # noqa: F403 - the same tests for each design


class ReadModelWorld:
    rows = 0

    def __init__(self, engine: Engine) -> None:
        metadata.create_all(engine)
        self.engine = engine
        self.revisions: list[int] = []

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.revisions.append(notification.revision)

    def schedule(self, revision: int, *, due_in_s: float) -> None:
        due_at = system_clock() + timedelta(seconds=due_in_s)
        with Session(self.engine) as session:
            ReadModelScheduler().schedule(
                Notification(key="a", revision=revision, kind="test", recipient="a@b.example", due_at=due_at),
                session=session,
            )
            session.commit()

    def cancel(self, revision: int) -> None:
        with Session(self.engine) as session:
            ReadModelScheduler().cancel("a", revision=revision, session=session)
            session.commit()

    def pass_s(self, seconds: float) -> None:
        with self.engine.begin() as connection:  # the database's clock decides, so the test moves the row
            connection.execute(update(pending).values(attempt_at=pending.c.attempt_at - timedelta(seconds=seconds)))
        drain(self.engine, self)

    def delivered(self) -> list[int]:
        return self.revisions


@pytest.fixture
def world(engine: Engine) -> ReadModelWorld:
    return ReadModelWorld(engine)
