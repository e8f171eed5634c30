"""streaQ behind ``schedule()``: ``start(schedule=…)`` after the caller's commit, with an id of key and revision."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.asynchronous import LoopThread
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

DELAYED, STREAM = "streaq:default:queues:delayed:normal", "streaq:default:queues:normal"
ABORTED, RESULT = "streaq:default:aborted", "streaq:default:task:results:"
GROUP = "workers"
HERE = contender(__file__)


class Streaq(Scheduler):
    """Enqueues tasks for their due times; streaQ replaces no task, so older revisions are aborted by their ids."""

    def __init__(self, settings: Settings) -> None:
        self._loop = LoopThread()
        self._url = settings.broker_url
        self._connection: asyncio.Task[None] | None = None
        self._worker: Any = None

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, abort the older revisions and enqueue this one; streaQ ignores an id that it has."""
        after_commit(session, lambda: self._loop.run(self._replace(notification)))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, abort the older revisions."""
        after_commit(session, lambda: self._loop.run(self._abort(key, revision)))

    async def _replace(self, notification: Notification) -> None:
        await self._abort(notification.key, notification.revision)
        worker = await self._connected()
        task = worker.enqueue_unsafe("deliver", notification.key, notification.revision)
        task.id = notification.op
        await task.start(schedule=notification.due_at)

    async def _abort(self, key: str, revision: int) -> None:
        from streaq import TaskStatus

        worker = await self._connected()
        for older in range(1, revision):
            op = f"{key}/{older}"
            # Not one that is unknown or done: its mark would stay for ever.
            if await worker.status_by_id(op) in (TaskStatus.SCHEDULED, TaskStatus.QUEUED, TaskStatus.RUNNING):
                await worker.abort_by_id(op, timeout=0)  # do not wait until a worker has aborted it

    async def _connected(self) -> Any:
        """Return the worker, inside its context manager, which a task of its own keeps open."""
        if self._connection is None or self._connection.done():
            from streaq import Worker

            self._worker, opened = Worker(redis_url=self._url), asyncio.Event()
            self._connection = asyncio.create_task(_keep_open(self._worker, opened))
            waiter = asyncio.create_task(opened.wait())
            await asyncio.wait({self._connection, waiter}, return_when=asyncio.FIRST_COMPLETED)
            if self._connection.done():
                waiter.cancel()
                self._connection.result()
        return self._worker


async def _keep_open(worker: Any, opened: asyncio.Event) -> None:
    async with worker:
        opened.set()
        await asyncio.Event().wait()


class _Result(pickle.Unpickler):
    """Reads what streaQ keeps of a finished task; duetime's interpreter does not have the classes of its errors."""

    def find_class(self, _module: str, name: str) -> Any:
        return type(name, (_Unknown,), {})


class _Unknown:
    def __init__(self, *_arguments: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...


def has_failed(stored: bytes) -> bool:
    """Return True for a task that raised an error, and was not aborted."""
    result = _Result(BytesIO(stored)).load()
    return not result["s"] and type(result["r"]).__name__ != "StreaqCancelled"


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def tasks(settings: Settings, _engine: Engine) -> Sequence[Pending]:
        """Return the tasks that are delayed or in the stream and not to be aborted, and those that have failed."""
        store: Any = redis.Redis.from_url(settings.broker_url)
        with store:
            aborted = {task.decode() for task in store.smembers(ABORTED)}
            found = [Pending(task.decode(), DELAYED) for task in store.zrange(DELAYED, 0, -1)]
            found += in_stream(store, back_after_s)
            found += failed(store)
        return [each for each in found if each.op not in aborted]

    return tasks


def failed(store: Any) -> list[Pending]:
    results = {result: store.get(result) for result in store.scan_iter(RESULT + "*")}
    return [
        Pending(result.decode().removeprefix(RESULT), "results", "failed")
        for result, stored in results.items()
        if stored and has_failed(stored)
    ]


def in_stream(store: Any, back_after_s: float) -> list[Pending]:
    """Return the tasks of the stream; a worker holds what it was given and has not acknowledged."""
    if not store.exists(STREAM):
        return []
    groups = store.xinfo_groups(STREAM)
    held = {each["message_id"] for each in store.xpending_range(STREAM, GROUP, "-", "+", 100_000)} if groups else set()
    return [
        Pending(fields[b"task_id"].decode(), STREAM, "held", back_after_s)
        if message in held
        else Pending(fields[b"task_id"].decode(), STREAM)
        for message, fields in store.xrange(STREAM)
    ]


design = Design(
    name="contender:streaq",
    summary="streaQ 7.2 with its defaults: a stream in Redis, to which due tasks are moved",
    weakness="the tasks of a killed worker wait for one or two minutes; one that raises an error has failed; an "
    "orderly stop cancels running tasks, which are then executed again",
    guarantees=Guarantees(
        # Its documentation calls it at-least-once, and says that a task that raises an error has failed.
        delivery="once_without_faults",
        transactional=False,
        cancels=True,
        as_durable_as="broker",
        due_by="workers",
        recovers_within_s=121.0,
    ),
    roles=[
        Role(name="worker", argv=("{python}", "-m", "streaq", "run", "jobs:worker"), ready="starting worker"),
    ],
    install=lambda _engine: None,
    scheduler=Streaq,
    pending=pending(121.0),
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:streaq:tuned",
    summary="streaQ 7.2: the tasks of a killed worker are executed again after 3 to 6 s, errors retried, a stop waits",
    weakness="a task that a killed worker had delivered, and not acknowledged, is delivered again",
    guarantees=replace(design.guarantees, delivery="at_least_once", recovers_within_s=7.0),
    roles=[replace(design.roles[0], argv=("{python}", "-m", "streaq", "run", "tuned:worker"))],
    pending=pending(7.0),
)
