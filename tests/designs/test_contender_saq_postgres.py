"""SAQ on PostgreSQL: the jobs of a killed worker, cancelled or not, and due times in whole seconds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("saq_postgres", settings, engine, tempdir, tmp_path)


def kill_a_worker_that_holds(world: World, variant: str) -> None:
    """Kill a worker in its delivery, then let the timeout pass after which a sweep takes its job for stuck."""
    world.schedule("killed", variant=variant)
    with world.worker(variant, delivery=SLOW):
        eventually(lambda: job(world).get("attempts") == 1)
    stored = job(world)
    changed = json.dumps({**stored, "started": stored["started"] - 10_001}).encode()
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE saq_jobs SET job = :job"), {"job": changed})


def job(world: World) -> dict[str, Any]:
    with world.engine.connect() as connection:
        found: dict[str, Any] = json.loads(connection.execute(text("SELECT job FROM saq_jobs")).scalar_one())
    return found


def test_a_job_of_a_killed_worker_is_aborted_by_default(world: World) -> None:
    kill_a_worker_that_holds(world, "")
    assert (world.pending()["killed/1"].state, world.pending()["killed/1"].back_after_s) == ("held", None)

    with world.worker():
        eventually(lambda: world.pending()["killed/1"].state == "failed")

    assert world.delivered() == []


def test_a_job_of_a_killed_worker_is_executed_again_by_the_tuned_one(world: World) -> None:
    kill_a_worker_that_holds(world, ":tuned")
    assert world.pending(":tuned")["killed/1"].back_after_s == 21.0

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["killed/1"])


def test_a_cancelled_job_of_a_killed_worker_is_executed_by_the_tuned_one(world: World) -> None:
    """The sweep takes every job that is being aborted for a stuck one, and retries it while it has tries left."""
    kill_a_worker_that_holds(world, ":tuned")
    world.do(["cancel", "killed", 2], ["commit"], variant=":tuned")
    assert world.pending(":tuned")["killed/1"].where == "saq_jobs, aborting"

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["killed/1"])


def test_due_times_are_rounded_up_to_whole_seconds(world: World) -> None:
    world.schedule("fraction", due_at=datetime.fromtimestamp(4_000_000_000.4, UTC))

    with world.engine.connect() as connection:
        assert connection.execute(text("SELECT scheduled FROM saq_jobs")).scalar_one() == 4_000_000_001


def test_its_own_form_of_a_due_time_is_rounded_by_the_database(world: World) -> None:
    """``scheduled=time.time() + 10`` of its README: the column has whole seconds, so up to 0.5 s early."""
    world.python(["-c", FRACTION])

    with world.engine.connect() as connection:
        assert connection.execute(text("SELECT scheduled FROM saq_jobs")).scalar_one() == 4_000_000_000


FRACTION = """
import asyncio, os
from saq import Queue

async def main():
    queue = Queue.from_url(os.environ["DUETIME_DATABASE_DSN"])
    await queue.connect()
    await queue.enqueue("deliver", scheduled=4_000_000_000.4)
    await queue.disconnect()

asyncio.run(main())
"""
