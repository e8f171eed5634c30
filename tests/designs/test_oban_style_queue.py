"""The plain queue: what it publishes and revokes, and when."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import redis
from celery import Celery, Task
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime import registry
from duetime.errors import BadNotification
from duetime.interface import Notification
from duetime.lint.applications import load
from duetime.settings import Settings
from oban_style_queue.broker import QUEUE, UNACKED, held_task_ids, messages
from oban_style_queue.celeryapp import DELIVER, make_app
from oban_style_queue.scheduler import CeleryQueue

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class RecordingTask:
    """Stands in for the Celery task and its application, and records the calls in their order."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.app = self
        self.control = self

    def apply_async(self, **options: Any) -> None:
        self.calls.append((options["task_id"], options["eta"]))

    def revoke(self, ids: list[str]) -> None:
        self.calls.append(ids)


@pytest.fixture
def task() -> RecordingTask:
    return RecordingTask()


def queue_of(task: RecordingTask) -> CeleryQueue:
    return CeleryQueue(cast("Task[..., Any]", task))


def note(revision: int) -> Notification:
    return Notification(key="a", revision=revision, kind="test", recipient="a@b.example", due_at=NOON)


def test_a_task_is_published_with_its_due_time_after_the_commit(engine: Engine, task: RecordingTask) -> None:
    with Session(engine) as session:
        queue_of(task).schedule(note(1), session=session)
        before_the_commit = list(task.calls)
        session.commit()

    assert before_the_commit == []
    assert task.calls == [("a/1", NOON)]


def test_a_newer_revision_is_published_after_every_older_one_is_revoked(engine: Engine, task: RecordingTask) -> None:
    with Session(engine) as session:
        queue_of(task).schedule(note(3), session=session)
        session.commit()

    assert task.calls == [["a/1", "a/2"], ("a/3", NOON)]


def test_a_revision_from_a_clock_is_refused_before_a_billion_ids_are_listed(
    engine: Engine, task: RecordingTask
) -> None:
    clock = 1_700_000_000
    with Session(engine) as session:
        queue_of(task).schedule(note(10_000), session=session)
        with pytest.raises(BadNotification, match=r"is 1700000000.*at most 10000; count the changes of the key"):
            queue_of(task).schedule(note(clock), session=session)
        with pytest.raises(BadNotification, match="count the changes"):
            queue_of(task).cancel("a", revision=clock, session=session)
        session.commit()

    assert [len(call) for call in task.calls] == [9_999, 2]


def test_a_payload_changed_between_the_call_and_the_commit_is_published_as_it_was(
    engine: Engine, settings: Settings
) -> None:
    queue = CeleryQueue(make_app(settings).tasks[DELIVER])
    notification = replace(note(1), payload={"n": 1})
    with Session(engine) as session:
        queue.schedule(notification, session=session)
        cast("dict[str, Any]", notification.payload)["n"] = 2
        session.commit()

    with redis.Redis.from_url(settings.broker_url, decode_responses=True) as broker:
        assert [message.notification.payload for message in messages(broker)] == [{"n": 1}]


def test_a_rollback_publishes_nothing_then_or_at_the_next_commit(engine: Engine, task: RecordingTask) -> None:
    with Session(engine) as session:
        queue = queue_of(task)
        queue.schedule(note(1), session=session)
        session.rollback()
        queue.cancel("a", revision=2, session=session)
        session.commit()
        session.commit()

    assert task.calls == [["a/1"]]


def test_a_session_closed_without_a_commit_publishes_nothing_later(engine: Engine, task: RecordingTask) -> None:
    session = Session(engine)
    queue = queue_of(task)
    queue.schedule(note(1), session=session)
    session.close()
    queue.cancel("a", revision=2, session=session)
    session.commit()
    session.close()

    assert task.calls == [["a/1"]]


@pytest.mark.parametrize("name", [name for name in registry.names() if name != registry.REFERENCE])
def test_each_package_of_designs_has_its_own_queue_on_a_shared_broker(name: str) -> None:
    app = load([name], [])[0].app

    assert app.conf.task_default_queue == name.partition(":")[0]
    assert app.amqp.router.route({}, "any")["queue"].name == name.partition(":")[0]
    # Events for a dashboard are off by default.
    assert not app.conf.worker_send_task_events


def test_two_applications_in_one_process_keep_their_own_brokers(settings: Settings) -> None:
    brokers = [settings.broker_url, "redis://other.example/7"]
    apps = [make_app(replace(settings, broker_url=url)) for url in brokers]

    assert [app.tasks[DELIVER].app.conf.broker_url for app in apps] == brokers


def test_on_a_shared_broker_only_its_own_tasks_are_counted(settings: Settings) -> None:
    app = Celery("test", broker=settings.broker_url, set_as_current=False)
    for queue in (QUEUE, "pull_worker"):
        app.send_task("test", task_id=f"waiting in {queue}", queue=queue)
        app.send_task("test", task_id=f"taken from {queue}", queue=queue)
    with redis.Redis.from_url(settings.broker_url) as broker:
        for queue in (QUEUE, "pull_worker"):
            # The later message is at the left end. As kombu does, record it with its exchange and routing key.
            message = json.loads(broker.lpop(queue))
            broker.hset(UNACKED, queue, json.dumps([message, "", queue]))

    assert held_task_ids(settings) == ([f"waiting in {QUEUE}"], [f"taken from {QUEUE}"])
