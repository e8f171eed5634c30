"""Sidekiq behind ``schedule()``: a Ruby client, which calls ``perform_at`` after the caller's commit."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
SETS: tuple[tuple[str, State], ...] = (("schedule", "waiting"), ("retry", "waiting"), ("dead", "failed"))
QUEUE = "queue:default"


def pending(settings: Settings, _engine: Engine) -> Sequence[Pending]:
    """Return the jobs in the sets and in the queue, without cancelled ones. A job that is executed is in none."""
    store: Any = redis.Redis.from_url(settings.broker_url, decode_responses=True)
    with store:
        places = [(name, state, store.zrange(name, 0, -1)) for name, state in SETS]
        places.append((QUEUE, "waiting", store.lrange(QUEUE, 0, -1)))
        jobs = [(name, state, *json.loads(job)["args"]) for name, state, found in places for job in found]
        newest = store.mget([f"newest:{key}" for _, _, key, _ in jobs]) if jobs else []
    return [
        Pending(f"{key}/{revision}", f"Sidekiq's {name}", state)
        for (name, state, key, revision), known in zip(jobs, newest, strict=True)
        if int(known or 0) <= revision
    ]


def role(*options: str) -> Role:
    return Role(name="worker", argv=("sidekiq", "-e", "production", *options), ready="{worker} is ready")


design = Design(
    name="contender:sidekiq",
    summary="Sidekiq with its defaults: a sorted set in Redis, from which each process moves due jobs to a queue",
    weakness="jobs that a killed process was executing, or was moving to the queue, are lost; it looks for due jobs "
    "every few seconds, at random",
    guarantees=Guarantees(
        # A killed process loses jobs, and a job that raises an error is repeated.
        delivery="once_without_faults",
        transactional=False,
        cancels=True,
        as_durable_as="broker",
        due_by="workers",
        # 5 s for each process, times a random 0.5 to 1.5; a run has up to three processes.
        punctual_to_s=22.5,
    ),
    roles=[role("-r", "{here}/worker.rb")],
    install=lambda _engine: None,
    scheduler=lambda settings: SchedulerProcess(HERE, settings, "ruby", "{here}/client.rb"),
    pending=pending,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:sidekiq:tuned",
    summary="Sidekiq, whose processes look for due jobs every 0.5 s on average",
    # It waits up to 5 s after its start, then 0.75 s.
    guarantees=replace(design.guarantees, punctual_to_s=5.0),
    roles=[role("-C", "{here}/tuned.yml", "-r", "{here}/tuned_worker.rb")],
)
