"""Testing the queue takes a broker and a worker, because only both together implement ETA and revoke."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.clock import system_clock
from duetime.interface import Notification
from duetime.settings import Settings
from oban_style_queue.deliver import deliver_one
from oban_style_queue.scheduler import CeleryQueue
from tests.designs.testability.behaviours import *  # noqa: F403 - the same tests for each design


class QueueWorld:
    rows = 0

    def __init__(self, engine: Engine, broker_url: str) -> None:
        self.engine = engine
        self.revisions: list[int] = []
        self.app = Celery("testability", broker=broker_url)

        @self.app.task(name="deliver", ignore_result=True, shared=False)
        def deliver(notification: dict[str, Any]) -> None:
            deliver_one(self, Notification.from_json(notification), retries=0)

        self.queue = CeleryQueue(deliver)

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.revisions.append(notification.revision)

    def schedule(self, revision: int, *, due_in_s: float) -> None:
        due_at = system_clock() + timedelta(seconds=due_in_s)
        with Session(self.engine) as session:
            self.queue.schedule(
                Notification(key="a", revision=revision, kind="test", recipient="a@b.example", due_at=due_at),
                session=session,
            )
            session.commit()

    def cancel(self, revision: int) -> None:
        with Session(self.engine) as session:
            self.queue.cancel("a", revision=revision, session=session)
            session.commit()

    def pass_s(self, seconds: float) -> None:
        time.sleep(seconds)  # the worker's own clock decides, and a test cannot set it

    def delivered(self) -> list[int]:
        return self.revisions


@pytest.fixture
def world(engine: Engine, settings: Settings) -> Iterator[QueueWorld]:
    world = QueueWorld(engine, settings.broker_url)
    with start_worker(world.app, pool="threads", concurrency=1, perform_ping_check=False):
        yield world
