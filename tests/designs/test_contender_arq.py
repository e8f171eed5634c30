"""The jobs of a killed worker of arq, its abort, which takes two steps, and what an orderly stop does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, in_an_hour, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""
ABORT = """
import asyncio, os
from datetime import datetime, timedelta, timezone
from arq import create_pool
from arq.connections import RedisSettings

async def main():
    queue = await create_pool(RedisSettings.from_dsn(os.environ["REDIS_URL"]))
    due_at = datetime.now(timezone.utc) + timedelta(hours=1)
    job = await queue.enqueue_job("deliver", "aborted", 1, _job_id="aborted/1", _defer_until=due_at)
    # The second step of Job.abort(), outside its transaction.
    type(queue).zadd = lambda *_: os._exit(0)
    await job.abort()

asyncio.run(main())
"""

ENQUEUE_BROKEN = """
import asyncio, os
from arq import create_pool
from arq.connections import RedisSettings

async def main():
    queue = await create_pool(RedisSettings.from_dsn(os.environ["REDIS_URL"]))
    await queue.enqueue_job("deliver", "broken", _job_id="broken/1")  # without the revision

asyncio.run(main())
"""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("arq", settings, engine, tempdir, tmp_path)


@pytest.fixture
def store(world: World) -> Iterator[Any]:
    with redis.Redis.from_url(world.settings.broker_url, decode_responses=True) as store:
        yield store


@pytest.mark.parametrize(("variant", "within_s"), [("", 310), (":tuned", 20)])
def test_a_job_of_a_killed_worker_is_executed_again_when_its_mark_has_expired(
    world: World, store: Any, variant: str, within_s: int
) -> None:
    world.schedule("killed", variant=variant)
    with world.worker(variant, delivery=SLOW):
        eventually(lambda: world.pending()["killed/1"].state == "held")
    left_ms = store.pttl("arq:in-progress:killed/1")
    assert (within_s - 9) * 1000 < left_ms <= within_s * 1000
    assert world.pending(variant)["killed/1"].back_after_s == within_s + 1

    with world.worker(variant):
        world.schedule("new", variant=variant)
        eventually(lambda: world.delivered() == ["new/1"])
        store.pexpire("arq:in-progress:killed/1", 1)  # instead of the rest of the time
        eventually(lambda: world.delivered() == ["new/1", "killed/1"])


def test_a_notification_that_was_due_long_ago_is_delivered(world: World) -> None:
    world.schedule("due", due_at=datetime(2020, 1, 1, tzinfo=UTC))

    with world.worker():
        eventually(lambda: world.delivered() == ["due/1"])


def test_an_aborted_job_is_neither_delivered_nor_pending(world: World) -> None:
    world.schedule("cancelled", due_at=in_an_hour())
    world.do(["cancel", "cancelled", 2], ["commit"])
    assert world.pending() == {}

    with world.worker():
        world.schedule("new")
        eventually(lambda: world.delivered() == ["new/1"] and world.pending() == {})


def test_an_abort_of_a_client_that_is_killed_in_it_executes_the_job_at_once(world: World, store: Any) -> None:
    """It moves the job to the beginning of the queue, and says with another command that the job is aborted."""
    world.python(["-c", ABORT])
    assert store.zscore("arq:queue", "aborted/1") == 1
    assert store.zscore("arq:abort", "aborted/1") is None

    with world.worker():
        eventually(lambda: world.delivered() == ["aborted/1"])


def test_a_worker_removes_the_aborts_of_a_fast_clock_and_keeps_old_ones(world: World, store: Any) -> None:
    now_ms = time.time() * 1000
    store.zadd("arq:abort", {"fast": now_ms + 3_600_000, "old": now_ms - 3_600_000})

    with world.worker():
        eventually(lambda: store.zrange("arq:abort", 0, -1) == ["old"])


def test_a_stopped_worker_cancels_its_jobs_and_leaves_them_in_the_queue_by_default(world: World) -> None:
    world.schedule("running")
    with world.worker(delivery=SLOW) as worker:
        # Its line in the log, because a stop between the mark and the begin leaves the mark.
        [log] = world.directory.glob("*.log")
        eventually(lambda: "running/1:deliver" in log.read_text())
        worker.terminate()
        eventually(lambda: world.pending()["running/1"].state == "waiting")


def test_a_job_that_raised_an_error_has_failed_and_is_kept(world: World) -> None:
    world.python(["-c", ENQUEUE_BROKEN])

    with world.worker():
        eventually(lambda: world.pending()["broken/1"].state == "failed")
