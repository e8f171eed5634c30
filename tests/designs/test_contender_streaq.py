"""streaQ: the tasks of a killed worker, cancelled or not, and what it loses with Redis' functions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, in_an_hour, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
STREAM = "streaq:default:queues:normal"
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""
LOST_FUNCTIONS = """
import asyncio, json, os
from streaq import Worker

async def main():
    worker = Worker(redis_url=os.environ["REDIS_URL"])
    async with worker:
        await worker.enqueue_unsafe("deliver", "a", 1)
        await worker.redis.function_flush()  # as a restart of Redis without persistence does
        try:
            await worker.enqueue_unsafe("deliver", "b", 1)
        except Exception as error:
            print(json.dumps(str(error)))

asyncio.run(main())
"""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("streaq", settings, engine, tempdir, tmp_path)


@pytest.fixture
def store(world: World) -> Iterator[Any]:
    with redis.Redis.from_url(world.settings.broker_url, decode_responses=True) as store:
        yield store


def kill_a_worker_that_holds(world: World, store: Any) -> None:
    world.schedule("killed")
    with world.worker(":tuned", delivery=SLOW):
        eventually(lambda: store.sismember("streaq:default:index:running", "killed/1"))
    held = world.pending(":tuned")["killed/1"]
    assert (held.state, held.where, held.back_after_s) == ("held", STREAM, 7.0)


def test_a_task_of_a_killed_worker_is_executed_again_by_the_tuned_one(world: World, store: Any) -> None:
    kill_a_worker_that_holds(world, store)

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["killed/1"])
        eventually(lambda: world.pending() == {})


def test_a_cancelled_task_of_a_killed_worker_is_not_executed_again(world: World, store: Any) -> None:
    kill_a_worker_that_holds(world, store)
    world.do(["cancel", "killed", 2], ["commit"])
    assert world.pending() == {}

    with world.worker(":tuned"):
        eventually(lambda: store.xlen(STREAM) == 0)
    assert world.delivered() == []


def test_an_aborted_task_leaves_nothing_and_is_not_delivered(world: World, store: Any) -> None:
    world.schedule("cancelled", due_at=in_an_hour())
    world.do(["cancel", "cancelled", 2], ["commit"])

    assert world.pending() == {}
    assert store.keys("streaq:*cancelled*") == []
    assert store.smembers("streaq:default:aborted") == set()


def test_a_stopped_worker_cancels_its_tasks_and_another_one_takes_them_at_once_by_default(
    world: World, store: Any
) -> None:
    world.schedule("running")
    with world.worker(delivery=SLOW) as worker:
        eventually(lambda: store.sismember("streaq:default:index:running", "running/1"))
        worker.terminate()
        eventually(lambda: not worker.alive())
    assert store.xpending_range(STREAM, "workers", "-", "+", 1)[0]["time_since_delivered"] >= 60_000

    with world.worker():
        eventually(lambda: world.delivered() == ["running/1"], within_s=30.0)


def test_a_client_can_schedule_nothing_after_redis_has_lost_its_functions(world: World) -> None:
    assert "unction not found" in world.python(["-c", LOST_FUNCTIONS])
