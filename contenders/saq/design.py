"""SAQ on Redis behind ``schedule()``: ``enqueue(scheduled=…)`` after the caller's commit, by key and revision."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.asynchronous import LoopThread
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

if TYPE_CHECKING:
    from saq import Queue  # type: ignore[import-not-found]

JOB = "saq:job:default:"
SWEPT = "swept"
TUNED = {"retries": 20, "retry_delay": 1.0}
TUNED_SWEEP_S = 10
HERE = contender(__file__)


class Saq(Scheduler):
    """Enqueues jobs for their due times; SAQ replaces no job, so older revisions are aborted by their keys."""

    def __init__(self, settings: Settings, **of_each_job: Any) -> None:
        self._of_each_job = of_each_job
        self._loop = LoopThread()
        self._queue = self._loop.run(connected(settings.broker_url))

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, abort the older revisions and enqueue this one; SAQ refuses a key that it has."""
        after_commit(session, lambda: self._loop.run(self._replace(notification)))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, abort the older revisions."""
        after_commit(session, lambda: self._loop.run(self._abort(key, revision)))

    async def _replace(self, notification: Notification) -> None:
        await self._abort(notification.key, notification.revision)
        await self._queue.enqueue(
            "deliver",
            key=notification.op,
            scheduled=notification.due_at.timestamp(),
            kwargs={"key": notification.key, "revision": notification.revision},
            **self._of_each_job,
        )

    async def _abort(self, key: str, revision: int) -> None:
        from saq.job import ACTIVE_STATUSES  # type: ignore[import-not-found]

        for older in range(1, revision):
            job = await self._queue.job(f"{key}/{older}")
            if job and job.status in ACTIVE_STATUSES:
                await job.abort("cancelled")


async def connected(url: str) -> Queue:
    from saq import Queue

    queue = Queue.from_url(url)
    await queue.connect()
    return queue


def pending(timeout_s: float, sweep_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(settings: Settings, _engine: Engine) -> Sequence[Pending]:
        """Return the jobs that are scheduled, queued or active, and those that have failed."""
        store: Any = redis.Redis.from_url(settings.broker_url, decode_responses=True)
        with store:
            active = set(store.lrange("saq:default:active", 0, -1))
            unfinished = {*store.zrange("saq:default:incomplete", 0, -1), *active}
            names = sorted({*unfinished, *store.scan_iter(JOB + "*")})
            found = {name: json.loads(job) for name, job in zip(names, store.mget(names), strict=True) if job}
        after_s = back_after_s(timeout_s, sweep_s, len(active))
        listed = [_pending(name, job, name in unfinished, name in active, after_s) for name, job in found.items()]
        return [each for each in listed if each]

    return jobs


def back_after_s(timeout_s: float, sweep_s: float, active: int) -> float:
    """Return after how many seconds, at most, stuck jobs with tries left are queued again.

    Their timeout, the lock of a worker that died in its sweep, the interval, and 5 s for each.
    """
    return timeout_s + 2 * sweep_s + 5.0 * active


def _pending(name: str, job: dict[str, Any], unfinished: bool, active: bool, after_s: float) -> Pending | None:
    op, status = name.removeprefix(JOB), job.get("status", "new")
    if active or (status == "aborting" and job.get("error") == SWEPT):
        tries_left = job.get("retries", 1) > job.get("attempts", 0)
        return Pending(op, f"active, {status}", "held", after_s if active and tries_left else None)
    if unfinished:
        return Pending(op, "saq:default:incomplete")
    failed = status == "failed" or (status == "aborted" and job.get("error") == SWEPT)
    return Pending(op, status, "failed") if failed else None


design = Design(
    name="contender:saq",
    summary="SAQ 0.26 on Redis with its defaults",
    weakness="a killed worker's job is aborted after a minute, and one that raises an error has failed; an orderly "
    "stop cancels running jobs, which are then executed again",
    # Its documentation promises nothing about a job whose worker dies.
    guarantees=Guarantees(
        delivery="unstated", transactional=False, cancels=True, as_durable_as="broker", due_by="workers"
    ),
    roles=[
        Role(name="worker", argv=("{python}", "-m", "saq", "jobs.settings", "--verbose"), ready="Worker starting"),
    ],
    install=lambda _engine: None,
    scheduler=Saq,
    pending=pending(10.0, 60.0),
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:saq:tuned",
    summary="SAQ 0.26 on Redis: 20 retries, and the job of a killed worker is executed again after about 20 s",
    weakness="a sweep of stuck jobs takes 5 s for each, and loses the one at which its worker is killed",
    guarantees=replace(design.guarantees, recovers_within_s=back_after_s(10.0, TUNED_SWEEP_S, active=10)),
    roles=[replace(design.roles[0], argv=("{python}", "-m", "saq", "tuned.settings", "--verbose"))],
    scheduler=partial(Saq, **TUNED),
    pending=pending(10.0, TUNED_SWEEP_S),
)
