"""When Taskiq's scheduler sends what was cancelled, or nothing, and when a dead worker's message comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from duetime.harness.processes.worker_process import WorkerProcess
from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""

READS = "Getting previous time schedules"


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("taskiq", settings, engine, tempdir, tmp_path)


@pytest.fixture
def store(world: World) -> Iterator[Any]:
    with redis.Redis.from_url(world.settings.broker_url, decode_responses=True) as store:
        yield store


@contextmanager
def scheduler(world: World, variant: str = "") -> Iterator[WorkerProcess]:
    """A ready scheduler, killed at the end."""
    design = world.design(variant)
    name = f"scheduler-{len(list(world.directory.glob('scheduler*.log'))) + 1}"
    process = WorkerProcess(
        name=name,
        role=design.roles[1],
        settings=world.settings.for_worker(name),
        state=world.directory / name,
        log=world.directory / f"{name}.log",
        tempdir=world.tempdir,
        contender=design.contender,
    )
    try:
        process.start()
        process.wait_ready(time)
        yield process
    finally:
        process.end()


def log_of(world: World, process: WorkerProcess) -> str:
    return (world.directory / f"{process.name}.log").read_text()


def test_what_was_deleted_after_it_was_read_is_sent_by_default(world: World) -> None:
    eventually(lambda: datetime.now(UTC).second < 20)  # the scheduler reads the schedules of the present minute
    due_at = datetime.now(UTC) + timedelta(seconds=35)
    world.schedule("cancelled", due_at=due_at)
    with scheduler(world) as process:
        eventually(lambda: READS in log_of(world, process))
        world.do(["cancel", "cancelled", 2], ["commit"])
        assert datetime.now(UTC) < due_at
        assert world.pending() == {}
        with world.worker():
            eventually(lambda: world.delivered() == ["cancelled/1"])


def test_a_worker_that_waits_for_messages_ends_on_sigterm(world: World) -> None:
    with world.worker() as process:
        process.terminate()
        assert process.wait_stopped(until=time.monotonic() + 30)


def test_a_deleted_schedule_is_not_sent_by_the_tuned_scheduler(world: World) -> None:
    with scheduler(world, ":tuned") as process, world.worker(":tuned"):
        due_at = datetime.now(UTC) + timedelta(seconds=20)
        due = due_at.isoformat()
        world.do(["schedule", "cancelled", 1, due], ["schedule", "kept", 1, due], ["commit"], variant=":tuned")
        reads = log_of(world, process).count(READS)
        eventually(lambda: log_of(world, process).count(READS) > reads + 1)
        world.do(["cancel", "cancelled", 2], ["commit"], variant=":tuned")
        assert datetime.now(UTC) < due_at
        eventually(lambda: world.delivered() == ["kept/1"])


def test_a_schedule_that_could_not_be_sent_waits_for_a_restart_of_the_scheduler(world: World, store: Any) -> None:
    world.schedule("unsent", variant=":tuned")
    store.set("taskiq", "no stream")  # instead of a broker that is down in this moment
    with scheduler(world, ":tuned") as process:
        eventually(lambda: "schedule_id unsent/1" in log_of(world, process))
        reads = log_of(world, process).count(READS)
        eventually(lambda: log_of(world, process).count(READS) > reads + 2)
        store.delete("taskiq")
        with world.worker(":tuned"):
            world.schedule("later", variant=":tuned")
            eventually(lambda: world.delivered() == ["later/1"])
            assert world.pending(":tuned")["unsent/1"].where == "schedule:data"

    with world.worker(":tuned"), scheduler(world, ":tuned"):
        eventually(lambda: world.delivered() == ["later/1", "unsent/1"])


def test_a_message_of_a_dead_worker_comes_back_when_another_worker_receives_a_message(world: World, store: Any) -> None:
    with world.worker(":tuned", delivery=SLOW), scheduler(world, ":tuned"):
        world.schedule("killed", variant=":tuned")
        eventually(
            lambda: world.pending(":tuned").get("killed/1") and world.pending(":tuned")["killed/1"].state == "held"
        )

    with world.worker(":tuned"):
        eventually(lambda: store.xpending_range("taskiq", "taskiq", "-", "+", 1)[0]["time_since_delivered"] > 6_000)
        assert world.delivered() == []
        with scheduler(world, ":tuned"):
            world.schedule("next", variant=":tuned")
            eventually(lambda: sorted(world.delivered()) == ["killed/1", "next/1"])
