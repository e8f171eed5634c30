"""RQ behind ``schedule()``: ``enqueue_at`` after the caller's commit, with an id made from key and revision."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

SETS: dict[str, Literal["waiting", "held", "failed"]] = {
    "rq:scheduled:default": "waiting",
    "rq:wip:default": "held",
    "rq:failed:default": "failed",
}
LISTS: dict[str, Literal["waiting", "held"]] = {"rq:queue:default": "waiting", "rq:queue:default:intermediate": "held"}
HERE = contender(__file__)


class Rq(Scheduler):
    """Enqueues jobs for their due times; RQ replaces no job, so older revisions are cancelled by their ids.

    round_up: pass due times on in whole seconds, rounded up, because RQ cuts the fraction off.
    """

    def __init__(self, settings: Settings, *, retries: int = 0, round_up: bool = False) -> None:
        from rq import Queue, Retry

        self._connection = redis.Redis.from_url(settings.broker_url)
        self._queue = Queue(connection=self._connection)
        self._retry = Retry(max=retries, interval=1) if retries else None
        self._round_up = round_up

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, cancel the older revisions and enqueue this one."""
        after_commit(session, lambda: self._replace(notification))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, cancel the older revisions; one that a worker has begun is delivered."""
        after_commit(session, lambda: self._cancel(key, revision))

    def _replace(self, notification: Notification) -> None:
        from rq.exceptions import DuplicateJobError

        self._cancel(notification.key, notification.revision)
        due_at = notification.due_at
        if self._round_up:
            due_at += timedelta(microseconds=-due_at.microsecond % 1_000_000)
        with suppress(DuplicateJobError):  # this revision waits already
            self._queue.enqueue_at(
                due_at,
                "jobs.deliver",
                notification.key,
                notification.revision,
                job_id=job_id(notification.op),
                unique=True,
                retry=self._retry,
            )

    def _cancel(self, key: str, revision: int) -> None:
        from rq.exceptions import InvalidJobOperation
        from rq.job import Job

        ids = [job_id(f"{key}/{older}") for older in range(1, revision)]
        for job in Job.fetch_many(ids, connection=self._connection):
            with suppress(InvalidJobOperation):  # it is cancelled already
                if job is not None:
                    job.cancel()


def job_id(op: str) -> str:
    """Return the id of a revision's job, of letters, digits, _ and - alone."""
    return base64.urlsafe_b64encode(op.encode()).decode().rstrip("=")


def op_of(found: str) -> str:
    name = found.partition(":")[0]
    return base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()


def pending(back_after_s: float | None) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(settings: Settings, _engine: Engine) -> Sequence[Pending]:
        """Return the jobs in RQ's registries and in its queue."""
        store: Any = redis.Redis.from_url(settings.broker_url, decode_responses=True)
        with store:
            found = [(job, name, state) for name, state in SETS.items() for job in store.zrange(name, 0, -1)]
            found += [(job, name, state) for name, state in LISTS.items() for job in store.lrange(name, 0, -1)]
        return [
            Pending(op_of(job), name, state, back_after_s if state == "held" else None) for job, name, state in found
        ]

    return jobs


design = Design(
    name="contender:rq",
    summary="RQ 3.0 with its defaults, each worker with a scheduler",
    weakness="due times are cut to whole seconds, so it delivers up to a second early; a killed scheduler is replaced "
    "after ten minutes or more; a job that a killed worker was executing is marked as failed",
    guarantees=Guarantees(
        delivery="at_most_once",
        transactional=False,
        cancels=True,
        as_durable_as="broker",
        due_by="workers",
        recovers_within_s=900.0,  # "every 15 minutes": its page about scheduling
        early_by_s=1.0,
    ),
    roles=[
        Role(
            name="worker",
            argv=("{python}", "-m", "rq.cli", "worker", "--with-scheduler", "--url", "{broker}"),
            ready="Listening on default",
        )
    ],
    install=lambda _engine: None,
    scheduler=Rq,
    pending=pending(None),
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:rq:tuned",
    summary="RQ 3.0 with due times rounded up, retries, and pools of four workers that look after scheduler and "
    "abandoned jobs every 5 s",
    weakness="whole seconds, so it delivers up to two seconds late; the jobs of a killed worker, and all due jobs if "
    "it had the scheduler, wait for more than a minute",
    guarantees=replace(
        design.guarantees,
        delivery="at_least_once",
        recovers_within_s=75.0,
        # Rounded up, and "once every second": its page about scheduling.
        punctual_to_s=2.0,
        early_by_s=0.0,
    ),
    roles=[replace(design.roles[0], argv=("{python}", "{here}/tuned_worker.py"))],
    scheduler=partial(Rq, retries=20, round_up=True),
    pending=pending(75.0),
)
