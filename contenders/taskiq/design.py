"""Taskiq behind ``schedule()``: a schedule in Redis after the caller's commit, sent by the one scheduler."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import Any, Literal

import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.asynchronous import LoopThread
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

STREAM = GROUP = "taskiq"
MANY = 1_000_000
HERE = contender(__file__)


class Taskiq(Scheduler):
    """Adds a schedule for each revision, and deletes those of the older ones by their ids.

    application: the module of this folder with the task and the schedule source.
    """

    def __init__(self, application: str) -> None:
        module: Any = import_module(application)
        self._deliver, self._source = module.deliver, module.source
        self._loop = LoopThread()

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, delete the schedules of the older revisions and add this one's."""
        self.cancel(notification.key, revision=notification.revision, session=session)
        after_commit(session, lambda: self._loop.run(self._add(notification)))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, delete the schedules of the older revisions."""
        if revision > 1:
            after_commit(session, lambda: self._loop.run(self._delete(key, revision)))

    async def _add(self, notification: Notification) -> None:
        kicker = self._deliver.kicker().with_schedule_id(notification.op)
        await kicker.schedule_by_time(self._source, notification.due_at, notification.key, notification.revision)

    async def _delete(self, key: str, revision: int) -> None:
        for older in range(1, revision):
            await self._source.delete_schedule(f"{key}/{older}")


def pending(settings: Settings, _engine: Engine) -> Sequence[Pending]:
    """Return the schedules, and the messages of the stream that no worker has acknowledged."""
    with redis.Redis.from_url(settings.broker_url) as store:
        return [*_schedules(store), *_messages(store)]


def _schedules(store: Any) -> Iterator[Pending]:
    for key in store.scan_iter("schedule:data:*"):
        if stored := store.get(key):  # not sent meanwhile
            yield Pending(_op(pickle.loads(stored)["args"]), "schedule:data")


def _messages(store: Any) -> Iterator[Pending]:
    groups: list[dict[str, Any]] = []
    with suppress(redis.ResponseError):  # there is no stream yet
        groups = store.xinfo_groups(STREAM)
    for group in groups:
        held = {entry["message_id"] for entry in store.xpending_range(STREAM, GROUP, "-", "+", MANY)}
        read = _position(group["last-delivered-id"])
        for message, fields in store.xrange(STREAM):
            state: Literal["waiting", "held"] | None = "held" if message in held else None
            if state or _position(message) > read:
                yield Pending(_op(json.loads(fields[b"data"])["args"]), "stream taskiq", state or "waiting")


def _position(message: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in message.split(b"-"))


def _op(arguments: Sequence[Any]) -> str:
    key, revision = arguments
    return f"{key}/{revision}"


def roles(application: str, *options: str) -> list[Role]:
    taskiq = ("{python}", "-m", "taskiq")
    return [
        Role(name="worker", argv=(*taskiq, "worker", f"{application}:broker"), ready="Listening started."),
        Role(
            name="scheduler",
            argv=(*taskiq, "scheduler", f"{application}:scheduler", *options),
            ready="Startup completed.",
            replicas=1,
            orderly_exits=(0, -15),  # it ends at once on SIGTERM
        ),
    ]


design = Design(
    name="contender:taskiq",
    summary="Taskiq 0.13 with taskiq-redis and the defaults of both: a stream, a schedule source and one scheduler",
    weakness="the scheduler reads the schedules once a minute, and sends what it has read even if it was deleted; a "
    "message of a dead worker is claimed after ten minutes, by a worker that receives another one",
    guarantees=Guarantees(
        delivery="once_without_faults",  # an error is not retried
        transactional=False,
        cancels=False,  # what the scheduler has read is sent, and what is in the stream is executed
        as_durable_as="broker",
        due_by="workers",
        recovers_within_s=600.0,  # idle_timeout, "10 minutes"
        punctual_to_s=62.0,  # --update-interval, 60 s, and a look each second
    ),
    roles=roles("tasks"),
    install=lambda _engine: None,
    scheduler=lambda _settings: Taskiq("tasks"),
    pending=pending,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:taskiq:tuned",
    summary="Taskiq 0.13: reads the schedules each second, checks one before it is sent, retries, and claims after 5 s",
    weakness="a message of a dead worker is claimed by a worker that receives another one; a schedule that could not "
    "be sent is sent after a restart of the scheduler",
    guarantees=replace(design.guarantees, delivery="at_least_once", recovers_within_s=8.0, punctual_to_s=3.0),
    roles=roles("tuned_tasks", "--update-interval", "1"),
    scheduler=lambda _settings: Taskiq("tuned_tasks"),
)
