"""Huey behind ``schedule()``: ``task.schedule(eta=…)`` after the caller's commit, with an id of key and revision."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, Self

import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

SCHEDULE, QUEUE, RESULTS = "huey.schedule.duetime", "huey.redis.duetime", "huey.results.duetime"
HERE = contender(__file__)


class Huey(Scheduler):
    """Schedules tasks. Huey replaces none, so older revisions are revoked by their ids."""

    def __init__(self, module: str) -> None:
        application = import_module(module)  # in this folder
        self._huey = application.huey
        self._deliver = application.deliver

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, revoke the older revisions and schedule this one."""
        self.cancel(notification.key, revision=notification.revision, session=session)
        after_commit(session, lambda: self._schedule(notification))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, revoke the older revisions; one that a worker has begun is delivered."""
        after_commit(session, lambda: self._revoke(key, revision))

    def _schedule(self, notification: Notification) -> None:
        self._deliver.schedule(
            args=(notification.key, notification.revision), eta=notification.due_at, id=notification.op
        )

    def _revoke(self, key: str, revision: int) -> None:
        for older in range(1, revision):
            self._huey.revoke_by_id(f"{key}/{older}")


class _Message(tuple[Any, ...]):
    """Stands for ``huey.registry.Message`` where Huey is not installed; its first field is the task's id."""

    __slots__ = ()

    def __new__(cls, *fields: Any) -> Self:
        return super().__new__(cls, fields)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("huey.registry", "Message"):
            return _Message
        if (module, name) == ("datetime", "datetime"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"Huey's messages have no {module}.{name}")


def pending(settings: Settings, _engine: Engine) -> Sequence[Pending]:
    """Return the tasks of the schedule and the queue, without revoked ones. A task that is executed is in neither."""
    with redis.Redis.from_url(settings.broker_url) as connection:
        store: Any = connection
        found = [(task_id(data), SCHEDULE) for data in store.zrange(SCHEDULE, 0, -1)]
        found += [(task_id(data), QUEUE) for data in store.lrange(QUEUE, 0, -1)]
        return [Pending(op, where) for op, where in found if not store.hexists(RESULTS, f"r:{op}")]


def task_id(data: bytes) -> str:
    message: _Message = _Unpickler(io.BytesIO(data)).load()
    return str(message[0])


def consumer(module: str, *options: str) -> Role:
    """Return a consumer that SIGINT stops in an orderly way; by default SIGTERM interrupts its tasks."""
    return Role(
        name="worker",
        argv=("{python}", "-m", "huey.bin.huey_consumer", f"{module}.huey", *options),
        ready="Periodic tasks are",
        stop_signal="SIGINT",
    )


design = Design(
    name="contender:huey",
    summary="Huey 3.5 with its defaults: a sorted set in Redis, from which each consumer moves due tasks to a list",
    weakness="a task that a killed consumer had taken, to execute it, to schedule it or to move it, is lost",
    guarantees=Guarantees(
        delivery="at_most_once",
        transactional=False,
        cancels=True,
        unique_by_key=False,
        as_durable_as="broker",
        due_by="workers",
    ),
    roles=[consumer("tasks")],
    install=lambda _engine: None,
    scheduler=lambda _settings: Huey("tasks"),
    pending=pending,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:huey:tuned",
    summary="Huey 3.5 with four workers in each consumer, retries, and interrupted tasks enqueued again",
    # A killed consumer loses tasks, and a task that raises an error is repeated. A revoke that comes while an attempt
    # is executed does not reach the next: "provided the task has not started executing yet".
    guarantees=replace(design.guarantees, delivery="once_without_faults", cancels=False),
    roles=[replace(consumer("tuned_tasks", "-w", "4", "-g", "TERM", "-t", "20"), stop_signal="SIGTERM")],
    scheduler=lambda _settings: Huey("tuned_tasks"),
)
