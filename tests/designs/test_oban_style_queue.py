"""The queue: nothing is published before the caller's commit, and nothing after a rollback."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from celery import Celery
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime import lint, registry
from duetime.interface import Notification
from duetime.settings import Settings
from oban_style_queue.design import QUEUE, UNACKED, broker_holds
from oban_style_queue.scheduler import CeleryQueue

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Published:
    """Stands in for the Celery task: keeps what would go to the broker, in its order."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.app = self
        self.control = self

    def apply_async(self, **options: Any) -> None:
        self.calls.append((options["task_id"], options["eta"]))

    def revoke(self, ids: list[str]) -> None:
        self.calls.append(ids)


def note(revision: int) -> Notification:
    return Notification(key="a", revision=revision, kind="test", recipient="a@b.example", due_at=NOON)


def test_a_task_is_published_with_its_due_time_once_the_caller_has_committed(engine: Engine) -> None:
    published = Published()
    with Session(engine) as session:
        CeleryQueue(published).schedule(note(1), session=session)
        before = list(published.calls)
        session.commit()

    assert before == []
    assert published.calls == [("a/1", NOON)]


def test_a_newer_revision_revokes_every_older_one_before_it_is_published(engine: Engine) -> None:
    published = Published()
    with Session(engine) as session:
        CeleryQueue(published).schedule(note(3), session=session)
        session.commit()

    assert published.calls == [["a/1", "a/2"], ("a/3", NOON)]


def test_a_rollback_publishes_nothing_and_leaves_nothing_for_the_next_commit(engine: Engine) -> None:
    published = Published()
    with Session(engine) as session:
        queue = CeleryQueue(published)
        queue.schedule(note(1), session=session)
        session.rollback()
        queue.cancel("a", revision=2, session=session)
        session.commit()
        session.commit()

    assert published.calls == [["a/1"]]


def test_a_session_that_is_closed_without_a_commit_publishes_nothing_later(engine: Engine) -> None:
    published = Published()
    session = Session(engine)
    queue = CeleryQueue(published)
    queue.schedule(note(1), session=session)
    session.close()
    queue.cancel("a", revision=2, session=session)
    session.commit()
    session.close()

    assert published.calls == [["a/1"]]


@pytest.fixture
def _apps_forgotten() -> Iterator[None]:
    """What reads the environment when it is imported is imported again by whoever needs it next."""
    before = set(sys.modules)
    yield
    ours = tuple(registry.default_designs())
    for name in [name for name in sys.modules if name.startswith(ours) and name.endswith("app") and name not in before]:
        del sys.modules[name]


@pytest.mark.usefixtures("_apps_forgotten")
@pytest.mark.parametrize("name", [name for name in registry.names() if name != registry.REFERENCE])
def test_each_package_of_designs_has_a_queue_of_its_own_so_that_they_may_share_a_broker(name: str) -> None:
    app = lint.load([name], [])[0].app

    assert app.conf.task_default_queue == name.partition(":")[0]
    assert app.amqp.router.route({}, "any")["queue"].name == name.partition(":")[0]
    # Nobody looks unless asked to.
    assert not app.conf.worker_send_task_events


def test_on_a_shared_broker_it_sees_its_own_tasks_and_no_others(settings: Settings) -> None:
    app = Celery("test", broker=settings.broker_url, set_as_current=False)
    for queue in (QUEUE, "pull_worker"):
        app.send_task("test", task_id=f"waiting in {queue}", queue=queue)
        app.send_task("test", task_id=f"taken from {queue}", queue=queue)
    with redis.Redis.from_url(settings.broker_url) as broker:
        for queue in (QUEUE, "pull_worker"):
            # The later one is at the left end. So kombu writes it down: the message, its exchange, its routing key.
            message = json.loads(broker.lpop(queue))
            broker.hset(UNACKED, queue, json.dumps([message, "", queue]))

    assert broker_holds(settings) == ([f"waiting in {QUEUE}"], [f"taken from {QUEUE}"])
