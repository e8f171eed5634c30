"""Oban for Python: when it gives the job of a dead worker to another one, and of a slow worker as well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from duetime import registry
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.interface import Notification, Pending
from duetime.settings import Settings
from tests.designs.blocked_gateway import (
    BlockedGateway,
    blocked_gateway,
    due_in,
    restart_after_kill,
    skip_unless_installed,
    worker_of,
)
from tests.eventually import assert_eventually

pytestmark = [pytest.mark.full, pytest.mark.processes, pytest.mark.contenders]
TUNED = registry.load("contender:oban:tuned")
RESCUE_AFTER_S = 3.0
ENQUEUE = text("INSERT INTO oban_jobs (state, worker, args) VALUES ('available', 'jobs.Deliver', CAST(:args AS jsonb))")
FIRST = text("SELECT state, attempted_at, meta->>'rescued' FROM oban_jobs ORDER BY id LIMIT 1")


@pytest.fixture
def gateway() -> Iterator[BlockedGateway]:
    with blocked_gateway() as gateway:
        yield gateway


@pytest.fixture
def worker(
    settings: Settings, engine: Engine, gateway: BlockedGateway, tmp_path: Path, tempdir: Path
) -> Iterator[WorkerProcess]:
    """A tuned worker that is delivering a job to the blocked gateway."""
    skip_unless_installed("oban")
    TUNED.install(engine)
    enqueue(engine, due_in(0))
    with worker_of(TUNED, TUNED.roles[0], settings, gateway, directory=tmp_path, tempdir=tempdir) as worker:
        assert_eventually(lambda: gateway.requests == [("a/1", 1)])
        yield worker


def enqueue(engine: Engine, notification: Notification) -> None:
    """Store a job as Oban's enqueue() does, which this interpreter does not have."""
    with engine.begin() as connection:
        connection.execute(ENQUEUE, {"args": json.dumps(notification.to_json())})


def first_job(engine: Engine) -> tuple[str, datetime, str | None]:
    with engine.connect() as connection:
        state, attempted_at, rescued = connection.execute(FIRST).one()
        return state, attempted_at, rescued


def test_the_job_of_a_killed_worker_comes_back_after_the_rescue_time_and_not_before(
    worker: WorkerProcess, gateway: BlockedGateway, settings: Settings, engine: Engine
) -> None:
    _, begun_at, _ = first_job(engine)
    assert TUNED.pending(settings, engine) == [Pending("a/1", "oban_jobs, executing, attempt 1", "held", 4.0)]
    restart_after_kill(worker)
    gateway.released.set()

    assert_eventually(lambda: gateway.requests == [("a/1", 1), ("a/1", 2)])

    assert_eventually(lambda: first_job(engine)[0] == "completed")
    _, begun_again_at, rescued = first_job(engine)
    assert rescued == "1"
    assert (begun_again_at - begun_at).total_seconds() >= RESCUE_AFTER_S


def test_a_job_that_executes_for_longer_than_the_rescue_time_is_delivered_twice(
    worker: WorkerProcess, gateway: BlockedGateway, engine: Engine
) -> None:
    assert_eventually(lambda: gateway.requests == [("a/1", 1), ("a/1", 2)])

    assert worker.alive()
    assert first_job(engine)[2] == "1"
