"""graphile-worker: how long the job of a dead worker stays locked, and what unlocks it sooner."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from duetime import registry
from duetime.interface import Design
from duetime.settings import Settings
from tests.designs.blocked_gateway import (
    BlockedGateway,
    blocked_gateway,
    due_in,
    restart_after_kill,
    schedule,
    skip_unless_installed,
    worker_of,
)
from tests.eventually import assert_eventually

pytestmark = [pytest.mark.full, pytest.mark.processes, pytest.mark.contenders]
DEFAULT = registry.load("contender:graphile_worker")
TUNED = registry.load("contender:graphile_worker:tuned")
# Polls often, but does not know the pool of its predecessor.
WITHOUT_UNLOCKING = replace(DEFAULT.roles[0], environment={"WORKER_OPTIONS": '{"pollInterval": 100}'})
LOCK = text(
    "UPDATE graphile_worker._private_jobs SET locked_by = 'pool-dead', attempts = 1, "
    "locked_at = now() - CAST(:ago AS interval)"
)
# A deletion waits for the lock; a table lock would also stop the worker's search for its next job.
HOLD_DELETIONS = """
CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN OLD; END';
CREATE TRIGGER held BEFORE DELETE ON graphile_worker._private_jobs FOR EACH ROW EXECUTE FUNCTION wait_for_lock()
"""
LOCK_DELETIONS = text("SELECT pg_advisory_xact_lock(1)")
DELETIONS_THAT_WAIT = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
SWEEP = """
const { EventEmitter } = require("events");
const { run } = require("graphile-worker");
const events = new EventEmitter();
events.on("resetLocked:success", () => console.log("swept"));
const often = { minResetLockedInterval: 50, maxResetLockedInterval: 50, pollInterval: 50 };
run({
  preset: { worker: { connectionString: process.env.DUETIME_DATABASE_DSN, ...often } },
  events,
  taskList: { deliver: ({ key }) => console.log(`delivered ${key}`) },
});
"""
"""A worker that looks for jobs locked for too long every 50 ms, instead of every 8 to 10 minutes."""


@pytest.fixture
def gateway() -> Iterator[BlockedGateway]:
    with blocked_gateway() as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def scheduled(settings: Settings, engine: Engine) -> None:
    """A job that is due."""
    skip_unless_installed("graphile_worker")
    DEFAULT.install(engine)
    schedule(DEFAULT, settings, engine, due_in(0))


@contextmanager
def sweeping(settings: Settings, log: Path) -> Iterator[None]:
    assert DEFAULT.contender is not None
    environment = {**os.environ, **DEFAULT.contender.environment(settings.database_url, "")}
    with log.open("wb") as output:
        process = subprocess.Popen(["node", "-e", SWEEP], env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def lock(engine: Engine, ago: str) -> None:
    with engine.begin() as connection:
        connection.execute(LOCK, {"ago": ago})


def test_the_job_of_a_dead_worker_is_locked_for_four_hours(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    lock(engine, "3 hours 59 minutes")
    with sweeping(settings, log := tmp_path / "sweep.log"):
        assert_eventually(lambda: log.read_text().count("swept") > 2)
        assert "delivered" not in log.read_text()

        lock(engine, "4 hours 1 second")
        assert_eventually(lambda: "delivered a" in log.read_text())


def test_a_restarted_worker_leaves_the_jobs_of_its_predecessor_locked(
    settings: Settings, engine: Engine, gateway: BlockedGateway, tmp_path: Path, tempdir: Path
) -> None:
    with worker_of(DEFAULT, WITHOUT_UNLOCKING, settings, gateway, directory=tmp_path, tempdir=tempdir) as worker:
        assert_eventually(lambda: gateway.requests == [("a/1", 1)])
        restart_after_kill(worker)
        gateway.released.set()
        schedule(DEFAULT, settings, engine, due_in(0, "b"))
        assert_eventually(lambda: ("b/1", 1) in gateway.requests)
        assert_eventually(lambda: len(DEFAULT.pending(settings, engine)) == 1)

    [held] = DEFAULT.pending(settings, engine)
    assert (held.op, held.state, held.back_after_s) == ("a/1", "held", 4 * 3600 + 600)
    assert gateway.requests == [("a/1", 1), ("b/1", 1)]


def test_tuned_a_restarted_worker_unlocks_the_jobs_of_its_predecessor_at_once(
    settings: Settings, engine: Engine, gateway: BlockedGateway, tmp_path: Path, tempdir: Path
) -> None:
    with worker_of(TUNED, TUNED.roles[0], settings, gateway, directory=tmp_path, tempdir=tempdir) as worker:
        assert_eventually(lambda: gateway.requests == [("a/1", 1)])
        restart_after_kill(worker)
        gateway.released.set()

        assert_eventually(lambda: gateway.requests == [("a/1", 1), ("a/1", 2)])
        assert_eventually(lambda: TUNED.pending(settings, engine) == [])


@pytest.mark.parametrize(("design", "waits"), [(DEFAULT, False), (TUNED, True)], ids=["default", "tuned"])
def test_only_the_tuned_worker_waits_at_its_end_until_a_finished_job_is_deleted(
    design: Design,
    waits: bool,
    settings: Settings,
    engine: Engine,
    gateway: BlockedGateway,
    tmp_path: Path,
    tempdir: Path,
) -> None:
    with worker_of(design, design.roles[0], settings, gateway, directory=tmp_path, tempdir=tempdir) as worker:
        assert_eventually(lambda: gateway.requests == [("a/1", 1)])
        with engine.begin() as connection:
            connection.exec_driver_sql(HOLD_DELETIONS)
        with engine.begin() as connection:
            connection.execute(LOCK_DELETIONS)
            gateway.released.set()
            assert_eventually(lambda: waiting_deletions(engine) == 1)
            worker.terminate()

            assert worker.wait_stopped(until=time.monotonic() + 2.0) is not waits
    assert_eventually(lambda: design.pending(settings, engine) == [])


def waiting_deletions(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(DELETIONS_THAT_WAIT).scalar_one())
