"""BullMQ behind ``schedule()``: a Node client, which adds a delayed job after the caller's commit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import redis
from sqlalchemy import Engine

from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Pending, Role
from duetime.scheduler_process import SchedulerProcess
from duetime.settings import Settings

HERE = contender(__file__)
State = Literal["waiting", "held", "failed"]
SETS: tuple[tuple[str, State], ...] = (("delayed", "waiting"), ("failed", "failed"))
LISTS: tuple[tuple[str, State], ...] = (("wait", "waiting"), ("active", "held"))
DEFAULT_BACK_S = 90.0
"""The lock lives for up to 30 s; of two looks, 30 s apart, the first notes the job and the second moves it."""
TUNED_BACK_S = 5.0
"""The same with 3 s and 1 s."""
TUNED_WORKER = {"concurrency": 100, "lockDuration": 3000, "stalledInterval": 1000, "maxStalledCount": 25}
TUNED_JOB = {"attempts": 25, "backoff": {"type": "fixed", "delay": 1000}}


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(settings: Settings, _engine: Engine) -> Sequence[Pending]:
        """Return the jobs that are neither completed nor cancelled."""
        store: Any = redis.Redis.from_url(settings.broker_url, decode_responses=True)
        with store:
            places = [(name, state, store.zrange(f"bull:deliver:{name}", 0, -1)) for name, state in SETS]
            places += [(name, state, store.lrange(f"bull:deliver:{name}", 0, -1)) for name, state in LISTS]
            found = [(name, state, job) for name, state, ids in places for job in ids]
            read = store.pipeline(transaction=False)
            for _, _, job in found:
                read.hget(f"bull:deliver:{job}", "data")
            stored = read.execute()
        data = [json.loads(text) if text else None for text in stored]
        return [
            _pending(job, name, state, back_after_s)
            for (name, state, _), job in zip(found, data, strict=True)
            if job and not job.get("cancelled")
        ]

    return jobs


def _pending(job: Mapping[str, Any], name: str, state: State, back_after_s: float) -> Pending:
    back = back_after_s if state == "held" else None
    return Pending(f"{job['key']}/{job['revision']}", f"bull:deliver:{name}", state, back)


def client(settings: Settings, *options: str) -> SchedulerProcess:
    return SchedulerProcess(HERE, settings, "node", "{here}/client.js", *options)


design = Design(
    name="contender:bullmq",
    summary="BullMQ 6.7 on Node with its defaults: a delayed job in Redis, added after the commit",
    weakness="a job that raises an error is not repeated; one that a dead worker held comes back after a minute",
    guarantees=Guarantees(
        # An error is final, and what a dead worker held is executed again.
        delivery="once_without_faults",
        transactional=False,
        cancels=True,
        as_durable_as="broker",
        # The client computes the delay, and the worker's clock decides.
        due_by="either",
        recovers_within_s=DEFAULT_BACK_S,
    ),
    roles=[Role(name="worker", argv=("node", "{here}/worker.js"), ready="{worker} is ready")],
    install=lambda _engine: None,
    scheduler=client,
    pending=pending(DEFAULT_BACK_S),
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:bullmq:tuned",
    summary="BullMQ 6.7 on Node with retries and 100 jobs at a time; looks for what a dead worker held every second",
    weakness="a job that a dead worker had delivered, and not completed, is delivered again",
    guarantees=replace(design.guarantees, delivery="at_least_once", recovers_within_s=TUNED_BACK_S),
    roles=[replace(design.roles[0], argv=("node", "{here}/worker.js", json.dumps(TUNED_WORKER)))],
    scheduler=lambda settings: client(settings, json.dumps(TUNED_JOB)),
    pending=pending(TUNED_BACK_S),
)
