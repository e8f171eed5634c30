"""Sidekiq behind ``schedule()``: the contract, and the two ways in which it loses a job, by its real processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime import contenders, registry
from duetime.harness.processes.gateway_process import GatewayProcess
from duetime.interface import Notification, Scheduler
from duetime.scheduler_process import SchedulerProcess
from duetime.settings import Settings
from tests.commands import json_lines
from tests.eventually import assert_eventually

pytestmark = [
    pytest.mark.full,
    pytest.mark.processes,
    pytest.mark.contenders,
    pytest.mark.skipif(bool(missing := contenders.missing("sidekiq")), reason=f"sidekiq: {missing}"),
]

DESIGN = registry.load("contender:sidekiq")
WORKER = contenders.folder("sidekiq") / "worker.rb"
AT_ONCE = """
    Sidekiq.options[:poll_interval_average] = 0.1
    class Sidekiq::Scheduled::Poller
      def initial_wait; end
    end
"""
"""Looks for due jobs at once and every 0.1 s: the test must not wait for that."""
KILLED_BETWEEN_POP_AND_PUSH = """
    class Killer
      def call(*) = Process.kill("KILL", Process.pid)
    end
    Sidekiq.configure_server { |config| config.client_middleware { |chain| chain.add Killer } }
"""
"""A client middleware is called between the two commands that move a due job to its queue."""
EXECUTING_FOR_EVER = """
    class Waiter
      def call(*)
        File.write("executing", "")
        sleep
      end
    end
    Sidekiq.configure_server { |config| config.server_middleware { |chain| chain.add Waiter } }
"""


@pytest.fixture
def scheduler(settings: Settings) -> Iterator[Scheduler]:
    made = DESIGN.scheduler(settings)
    assert isinstance(made, SchedulerProcess)
    yield made
    made.close()


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.broker_url, decode_responses=True) as connection:
        yield connection


def schedule(scheduler: Scheduler, engine: Engine, key: str, revision: int, *, due_in_s: float) -> None:
    due_at = datetime.now(UTC) + timedelta(seconds=due_in_s)
    notification = Notification(key=key, revision=revision, kind="k", recipient="r", due_at=due_at)
    with Session(engine) as session:
        scheduler.schedule(notification, session=session)
        session.commit()


def cancel(scheduler: Scheduler, engine: Engine, key: str, revision: int) -> None:
    with Session(engine) as session:
        scheduler.cancel(key, revision=revision, session=session)
        session.commit()


def pending(settings: Settings, engine: Engine) -> list[tuple[str, str]]:
    return sorted((found.op, found.where) for found in DESIGN.pending(settings, engine))


@contextmanager
def sidekiq(settings: Settings, file: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    assert DESIGN.contender is not None
    variables = {
        **os.environ,
        **DESIGN.contender.environment(settings.database_url, settings.broker_url),
        **environment,
        "DUETIME_WORKER": "worker-1",
    }
    with subprocess.Popen(
        ["sidekiq", "-e", "production", "-r", file], env=variables, cwd=file.parent, stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_only_the_newest_revision_of_a_key_is_pending(scheduler: Scheduler, settings: Settings, engine: Engine) -> None:
    for key, revision in [("a", 1), ("b", 2), ("b", 1), ("c", 1), ("c", 2), ("d", 1)]:
        schedule(scheduler, engine, key, revision, due_in_s=60)
    cancel(scheduler, engine, "a", 2)
    cancel(scheduler, engine, "d", 1)  # cancels what is below revision 1

    where = "Sidekiq's schedule"
    assert pending(settings, engine) == [("b/2", where), ("c/2", where), ("d/1", where)]


@pytest.mark.parametrize("due_in_s", [60, -1])
def test_a_repeated_call_adds_no_job(scheduler: Scheduler, settings: Settings, engine: Engine, due_in_s: float) -> None:
    due_at = datetime.now(UTC) + timedelta(seconds=due_in_s)
    notification = Notification(key="a", revision=1, kind="k", recipient="r", due_at=due_at)
    for _ in range(2):
        with Session(engine) as session:
            scheduler.schedule(notification, session=session)
            session.commit()

    assert pending(settings, engine) == [("a/1", "Sidekiq's schedule" if due_in_s > 0 else "Sidekiq's queue:default")]


def test_a_lost_publication_is_made_good_by_a_repeated_call(
    scheduler: Scheduler, settings: Settings, engine: Engine, store: redis.Redis
) -> None:
    store.set("newest:a", 1)  # killed after this command, and before perform_at

    schedule(scheduler, engine, "a", 1, due_in_s=60)

    assert pending(settings, engine) == [("a/1", "Sidekiq's schedule")]


def test_a_cancel_outlives_the_job_that_it_cancels(scheduler: Scheduler, engine: Engine, store: redis.Redis) -> None:
    schedule(scheduler, engine, "a", 1, due_in_s=86400 * 365)

    cancel(scheduler, engine, "a", 2)

    assert store.ttl("newest:a") > 86400 * (365 + 20)


def test_a_job_that_is_cancelled_or_replaced_in_the_queue_is_not_delivered(
    scheduler: Scheduler, settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path
) -> None:
    for key in ("cancelled", "replaced"):
        schedule(scheduler, engine, key, 1, due_in_s=-1)
    cancel(scheduler, engine, "cancelled", 2)
    schedule(scheduler, engine, "replaced", 2, due_in_s=-1)
    gateway = GatewayProcess(tmp_path / "gateway.sock", settings, tempdir=tempdir)

    with sidekiq(settings, WORKER, gateway.environment):
        assert_eventually(lambda: settings.deliveries.exists() and not pending(settings, engine))
        assert_eventually(lambda: [line["op"] for line in json_lines(settings.deliveries)] == ["replaced/2"])
    gateway.end()


def test_a_process_killed_between_pop_and_push_loses_the_job(
    scheduler: Scheduler, settings: Settings, engine: Engine, store: redis.Redis, tmp_path: Path
) -> None:
    (file := tmp_path / "killer.rb").write_text(f"require '{WORKER}'\n{AT_ONCE}{KILLED_BETWEEN_POP_AND_PUSH}")
    schedule(scheduler, engine, "a", 1, due_in_s=0.5)
    assert pending(settings, engine) == [("a/1", "Sidekiq's schedule")]

    with sidekiq(settings, file, {}) as process:
        assert process.wait(timeout=20) == -signal.SIGKILL

    assert pending(settings, engine) == []
    assert not store.exists("schedule", "retry", "dead", "queue:default")


def test_a_process_killed_while_it_executes_loses_the_job(
    scheduler: Scheduler, settings: Settings, engine: Engine, store: redis.Redis, tmp_path: Path
) -> None:
    (file := tmp_path / "waiter.rb").write_text(f"require '{WORKER}'\n{EXECUTING_FOR_EVER}")
    schedule(scheduler, engine, "a", 1, due_in_s=-1)

    with sidekiq(settings, file, {}) as process:
        assert_eventually((tmp_path / "executing").exists)
        process.kill()

    assert pending(settings, engine) == []
    assert not store.exists("schedule", "retry", "dead", "queue:default")
