"""SAQ on PostgreSQL behind ``schedule()``: ``enqueue(scheduled=…)`` after the caller's commit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.asynchronous import LoopThread
from duetime.contenders import contender, plain_url
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

if TYPE_CHECKING:
    from saq import Queue  # type: ignore[import-not-found]

JOBS = text("SELECT key, status, job FROM saq_jobs WHERE status <> 'complete'")
SWEPT = "swept"
TUNED = {"retries": 20, "retry_delay": 1.0}
TUNED_SWEEP_S = 3
HERE = contender(__file__)


class Saq(Scheduler):
    """Enqueues jobs for their due times; SAQ replaces no job, so older revisions are aborted by their keys."""

    def __init__(self, settings: Settings, **of_each_job: Any) -> None:
        self._of_each_job = of_each_job
        self._loop = LoopThread()
        self._queue = self._loop.run(connected(plain_url(settings.database_url)))

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
            # A fraction, as in its README, would be rounded by the database, and be early by up to half a second.
            scheduled=math.ceil(notification.due_at.timestamp()),
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

    queue = Queue.from_url(url, min_size=1, max_size=2)
    await queue.connect()
    return queue


def pending(timeout_s: float, sweep_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(_settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the jobs that are queued or active, and those that have failed."""
        with engine.connect() as connection:
            rows = [(row.key, row.status, json.loads(bytes(row.job))) for row in connection.execute(JOBS)]
        active = sum(status in ("active", "aborting") for _, status, _ in rows)
        after_s = back_after_s(timeout_s, sweep_s, active)
        return [each for row in rows if (each := _pending(*row, after_s))]

    return jobs


def back_after_s(timeout_s: float, sweep_s: float, active: int) -> float:
    """Return after how many seconds, at most, stuck jobs with tries left are queued again.

    Their timeout, twice the interval, because another worker may have to take the lock first, and 5 s for each.
    """
    return timeout_s + 2 * sweep_s + 5.0 * active


def _pending(op: str, status: str, job: dict[str, Any], after_s: float) -> Pending | None:
    where = f"saq_jobs, {status}"
    if status in ("active", "aborting"):
        tries_left = job.get("retries", 1) > job.get("attempts", 0)
        return Pending(op, where, "held", after_s if tries_left else None)
    if status == "failed" or (status == "aborted" and job.get("error") == SWEPT):
        return Pending(op, where, "failed")
    return Pending(op, where) if status == "queued" else None


design = Design(
    name="contender:saq_postgres",
    summary="SAQ 0.26 on PostgreSQL with its defaults",
    weakness="it cannot schedule in the caller's transaction; a killed worker's job is aborted after a minute, and one "
    "that raises an error has failed; an orderly stop cancels running jobs, which are then executed again",
    # Its documentation promises nothing about a job whose worker dies.
    guarantees=Guarantees(
        delivery="unstated",
        transactional=False,
        cancels=True,
        due_by="workers",
        punctual_to_s=2.0,  # whole seconds, and "how often we poll to schedule jobs": every second
    ),
    roles=[
        Role(name="worker", argv=("{python}", "-m", "saq", "jobs.settings", "--verbose"), ready="Worker starting"),
    ],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=Saq,
    pending=pending(10.0, 60.0),
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:saq_postgres:tuned",
    summary="SAQ 0.26 on PostgreSQL: 20 retries, looks for due jobs every 0.2 s, and repeats a killed worker's job "
    "after about 20 s",
    weakness="a cancelled job of a killed worker is executed nevertheless",
    guarantees=replace(
        design.guarantees, recovers_within_s=back_after_s(10.0, TUNED_SWEEP_S, active=10), punctual_to_s=1.5
    ),
    roles=[replace(design.roles[0], argv=("{python}", "-m", "saq", "tuned.settings", "--verbose"))],
    scheduler=partial(Saq, **TUNED),
    pending=pending(10.0, TUNED_SWEEP_S),
)
