"""arq behind ``schedule()``: ``enqueue_job(_defer_until=…)`` after the caller's commit, by key and revision."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
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

QUEUE, ABORTED = "arq:queue", "arq:abort"
HELD, RESULT = "arq:in-progress:", "arq:result:"
HERE = contender(__file__)


class Arq(Scheduler):
    """Enqueues jobs for their due times; arq replaces no job, so older revisions are aborted by their ids."""

    def __init__(self, settings: Settings) -> None:
        from arq import create_pool
        from arq.connections import RedisSettings

        self._loop = LoopThread()
        self._queue = self._loop.run(create_pool(RedisSettings.from_dsn(settings.broker_url)))

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, abort the older revisions and enqueue this one; arq refuses an id that it has."""
        after_commit(session, lambda: self._loop.run(self._replace(notification)))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, abort the older revisions."""
        after_commit(session, lambda: self._loop.run(self._abort(key, revision)))

    async def _replace(self, notification: Notification) -> None:
        await self._abort(notification.key, notification.revision)
        await self._queue.enqueue_job(
            "deliver",
            notification.key,
            notification.revision,
            _job_id=notification.op,
            # A job is kept until a day after its due time, and arq fails if that has passed already.
            _defer_until=max(notification.due_at, datetime.now(UTC)),
        )

    def _abort(self, key: str, revision: int) -> Coroutine[Any, Any, None]:
        from arq.jobs import Job, JobStatus

        async def abort() -> None:
            for older in range(1, revision):
                job = Job(f"{key}/{older}", self._queue)
                # Not one that is unknown or finished: its mark in `arq:abort` would stay for ever.
                if await job.status() in (JobStatus.deferred, JobStatus.queued, JobStatus.in_progress):
                    with suppress(TimeoutError):  # do not wait until a worker has aborted it
                        await job.abort(timeout=0, poll_delay=0)

        return abort()


class _Result(pickle.Unpickler):
    """Reads what arq keeps of a finished job; duetime's interpreter does not have the classes of its errors."""

    def find_class(self, _module: str, name: str) -> Any:
        return type(name, (_Unknown,), {})


class _Unknown:
    def __init__(self, *_arguments: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...


def has_failed(stored: bytes) -> bool:
    """Return True for a job that raised an error, and was not aborted."""
    result = _Result(BytesIO(stored)).load()
    return not result["s"] and type(result["r"]).__name__ != "CancelledError"


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(settings: Settings, _engine: Engine) -> Sequence[Pending]:
        """Return the jobs of the queue that are not to be aborted, and those that failed in the last hour."""
        with redis.Redis.from_url(settings.broker_url) as store:
            aborted = set(store.zrange(ABORTED, 0, -1))
            waiting = [job.decode() for job in store.zrange(QUEUE, 0, -1) if job not in aborted]
            found = [_unfinished(job, back_after_s if store.exists(HELD + job) else None) for job in waiting]
            found += failed(store)
        return found

    return jobs


def failed(store: Any) -> list[Pending]:
    results = {result: store.get(result) for result in store.scan_iter(RESULT + "*")}
    return [
        Pending(result.decode().removeprefix(RESULT), "arq:result", "failed")
        for result, stored in results.items()
        if stored and has_failed(stored)
    ]


def _unfinished(job: str, back_after_s: float | None) -> Pending:
    return Pending(job, QUEUE, "waiting" if back_after_s is None else "held", back_after_s)


design = Design(
    name="contender:arq",
    summary="arq 0.28 with its defaults, and with the switch that an abort needs",
    weakness="an abort can execute the job instead; the job of a killed worker waits for 310 s; one that raises an "
    "error has failed; an orderly stop cancels running jobs, which are then executed again",
    guarantees=Guarantees(
        # "Jobs may be called more than once", and one that raises an error has failed.
        delivery="once_without_faults",
        transactional=False,
        cancels=True,
        as_durable_as="broker",
        due_by="workers",
        recovers_within_s=311.0,
    ),
    roles=[Role(name="worker", argv=("{python}", "-m", "arq", "jobs.WorkerSettings"), ready="Starting worker for")],
    install=lambda _engine: None,
    scheduler=Arq,
    pending=pending(311.0),
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:arq:tuned",
    summary="arq 0.28: a job of a dead worker is executed again after 20 s, an error is retried, and a stop waits",
    weakness="an abort can execute the job instead; the job of a killed worker waits for its timeout and 10 s",
    guarantees=replace(design.guarantees, delivery="at_least_once", recovers_within_s=21.0),
    roles=[replace(design.roles[0], argv=("{python}", "-m", "arq", "tuned.WorkerSettings"))],
    pending=pending(21.0),
)
