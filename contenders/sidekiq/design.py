"""Sidekiq behind ``schedule()``: a job in the sorted set of scheduled jobs, published after the caller's commit.

The format of a job is documented: https://github.com/sidekiq/sidekiq/wiki/Job-Format
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

SCHEDULED, QUEUE, RETRY, DEAD = "schedule", "queue:default", "retry", "dead"
JOBS = "duetime:jobs"
"""A hash, from a key to its job that waits. Of duetime, not of Sidekiq, which finds no job by a name."""
HERE = contender(__file__)


class Sidekiq(Scheduler):
    """Adds a job with ``ZADD schedule``, as ``perform_at`` does, and removes it with ``ZREM``."""

    def __init__(self, settings: Settings) -> None:
        self._redis: Any = redis.Redis.from_url(settings.broker_url, decode_responses=True)

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, replace the waiting job of the key."""
        job = json.dumps(job_of(notification), sort_keys=True)
        due_s = notification.due_at.timestamp()
        after_commit(session, lambda: self._replace(notification.key, notification.revision, {job: due_s}))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, remove the waiting job of the key; one in the queue or in a worker is delivered."""
        after_commit(session, lambda: self._replace(key, revision, {}))

    def _replace(self, key: str, revision: int, job: Mapping[str, float]) -> None:
        """Replace the waiting job of `key`, if it is older, by `job`, which may be none. Repeated if another did so."""

        def replace_older(pipeline: Any) -> None:
            waiting = pipeline.hget(JOBS, key)
            pipeline.multi()
            if waiting:
                found = json.loads(waiting)["args"][1]
                if found > revision or (found == revision and job):
                    return
                pipeline.zrem(SCHEDULED, waiting)
                pipeline.hdel(JOBS, key)
            for text in job:
                pipeline.hset(JOBS, key, text)
                pipeline.zadd(SCHEDULED, job)

        self._redis.transaction(replace_older, JOBS)


def job_of(notification: Notification) -> dict[str, Any]:
    """Return the job. Its id comes from the revision, so that a repeated call adds nothing to the sorted set."""
    return {
        "class": "DeliverJob",
        "args": [notification.key, notification.revision],
        "queue": "default",
        "jid": hashlib.sha256(notification.op.encode()).hexdigest()[:24],
        "retry": True,
        "created_at": notification.due_at.timestamp(),
    }


def pending(settings: Settings, _engine: Engine) -> Sequence[Pending]:
    """Return the jobs in the sets and in the queue. Sidekiq keeps none of those that a worker executes."""
    store: Any = redis.Redis.from_url(settings.broker_url, decode_responses=True)
    found: list[Pending] = []
    with store:
        for name, jobs in (
            *((each, store.zrange(each, 0, -1)) for each in (SCHEDULED, RETRY, DEAD)),
            (QUEUE, store.lrange(QUEUE, 0, -1)),
        ):
            for job in map(json.loads, jobs):
                key, revision = job["args"]
                found.append(Pending(f"{key}/{revision}", f"Sidekiq's {name}"))
    return found


design = Design(
    name="contender:sidekiq",
    summary="Sidekiq with its defaults: a sorted set in Redis, from which each process moves due jobs to a queue",
    weakness="jobs that a killed process was executing, or was moving to the queue, are lost; it looks for due jobs "
    "every few seconds, at random",
    guarantees=Guarantees(
        delivery="at_most_once",
        transactional=False,
        cancels=True,
        as_durable_as="broker",
        due_by="workers",
        punctual_to_s=15.0,
    ),
    roles=[
        Role(
            name="worker",
            argv=("sidekiq", "-r", "{here}/worker.rb", "-c", "5", "-e", "production"),
            ready="{worker} is ready",
        )
    ],
    install=lambda _engine: None,
    scheduler=Sidekiq,
    pending=pending,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:sidekiq:tuned",
    summary="Sidekiq, whose processes look for due jobs every 0.5 s on average",
    guarantees=replace(design.guarantees, punctual_to_s=1.5),
    roles=[replace(design.roles[0], environment={"POLL_INTERVAL_S": "0.5"})],
)
