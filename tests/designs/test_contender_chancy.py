"""Chancy's jobs of a killed worker, which the leader recovers after its heartbeats have ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, in_an_hour, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
IN_FLIGHT = timedelta(seconds=4)
"""Long enough to kill the worker between the delivery, half-way, and its answer."""
PROCESSORS = "import os; print(getattr(os, 'process_cpu_count', os.cpu_count)())"
FETCHED = text(
    "SELECT count(*), extract(epoch FROM started_at - lag(started_at) OVER (ORDER BY started_at)) "
    "FROM chancy_jobs GROUP BY started_at ORDER BY started_at"
)
CONSTANTS = """
import json
from chancy import Queue, Worker
from chancy.plugins.leadership import Leadership
from chancy.plugins.recovery import Recovery
from worker import chancy

worker, leadership = Worker(chancy), Leadership()
print(json.dumps([
    Queue("default").polling_interval, worker.heartbeat_timeout,
    leadership.timeout, leadership.poll_interval, Recovery().poll_interval,
]))
"""
RECOVER = """
import asyncio
from chancy import Worker
from chancy.plugins.recovery import Recovery
from psycopg.rows import dict_row
from worker import chancy


async def main():
    async with chancy, Worker(chancy, worker_id="restarted", tags={"none"}, register_signal_handlers=False) as worker:
        async with chancy.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            for id_ in ("restarted", "another"):
                await cursor.execute("UPDATE chancy_jobs SET taken_by = %s", [id_])
                print(await Recovery.recover(worker, chancy, cursor))


asyncio.run(main())
"""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("chancy", settings, engine, tempdir, tmp_path)


def kill_a_worker_that_has_delivered(world: World, variant: str = "") -> None:
    world.design(variant).install(world.engine)
    with world.worker(variant, delivery=IN_FLIGHT):
        world.schedule("killed", variant=variant)
        eventually(lambda: world.delivered() == ["killed/1"])


def test_a_delivered_job_of_a_killed_worker_is_held_for_up_to_four_minutes(world: World) -> None:
    kill_a_worker_that_has_delivered(world)

    held = world.pending()["killed/1"]

    assert (held.state, held.back_after_s) == ("held", 240.0)
    assert world.python(["-c", CONSTANTS]).strip() == "[5, 90, 120, 60, 60]"


def test_the_tuned_worker_delivers_it_again(world: World) -> None:
    kill_a_worker_that_has_delivered(world, ":tuned")
    assert world.pending(":tuned")["killed/1"].back_after_s == 6.0

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["killed/1"] * 2)


def test_a_cancelled_job_of_a_killed_worker_is_not_recovered(world: World) -> None:
    kill_a_worker_that_has_delivered(world, ":tuned")
    world.do(["cancel", "killed", 2], ["commit"])
    assert world.pending() == {}

    with world.worker(":tuned"):
        world.schedule("new")
        eventually(lambda: world.delivered() == ["killed/1", "new/1"])


def test_a_running_job_is_not_recovered_while_a_worker_with_the_same_id_sends_heartbeats(world: World) -> None:
    world.schedule("killed", due_at=in_an_hour())
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE chancy_jobs SET state = 'running', claim_id = gen_random_uuid()"))
    with world.gateway() as environment:
        recovered = world.python(["-c", RECOVER], **environment).split()

    assert recovered == ["0", "1"]


@pytest.mark.full
def test_a_worker_fetches_as_many_jobs_as_it_has_processors_and_looks_again_after_five_seconds(world: World) -> None:
    processors = int(world.python(["-c", PROCESSORS]))
    waiting = 3 * processors
    due_at = datetime.now(UTC) - timedelta(seconds=1)
    world.do(*(["schedule", f"{number}", 1, due_at.isoformat()] for number in range(waiting)), ["commit"])

    with world.worker():
        eventually(lambda: len(world.delivered()) == waiting)
    with world.engine.connect() as connection:
        fetched = connection.execute(FETCHED).all()

    assert [jobs for jobs, _ in fetched] == [processors] * 3
    assert all(4.9 < seconds < 30 for _, seconds in fetched[1:])
