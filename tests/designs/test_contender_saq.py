"""SAQ on Redis: the jobs of a killed worker, its sweep, and what a cancelled job leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from duetime.harness.processes.worker_process import WorkerProcess
from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, in_an_hour, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
JOB = "saq:job:default:"
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""

TAKEN_DURING_A_SWEEP = """
import asyncio, json, os
from saq import Queue
from saq.job import Status

async def main():
    queue, sweeping = (Queue.from_url(os.environ["REDIS_URL"]) for _ in range(2))
    await queue.enqueue("deliver", key="a/1", retries=2)
    job = await queue.dequeue(timeout=1)
    swept = asyncio.create_task(sweeping.sweep())
    while (await queue.job("a/1")).status != Status.ABORTING:
        await asyncio.sleep(0.01)
    # What a worker does with a job that it has taken.
    job.attempts += 1
    await job.update(status=Status.ACTIVE)
    await job.finish(Status.COMPLETE)
    await swept
    print(json.dumps((await queue.job("a/1")).status))

asyncio.run(main())
"""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("saq", settings, engine, tempdir, tmp_path)


@pytest.fixture
def store(world: World) -> Iterator[Any]:
    with redis.Redis.from_url(world.settings.broker_url, decode_responses=True) as store:
        yield store


@contextmanager
def slow_worker_that_has_swept(world: World, store: Any, variant: str = "") -> Iterator[WorkerProcess]:
    """A worker that takes its first job after its first sweep, which would often abort a job that is taken meanwhile.

    See ``test_a_job_that_is_completed_during_a_sweep_is_queued_again``.
    """
    with world.worker(variant, delivery=SLOW) as worker:
        eventually(lambda: store.exists("saq:default:sweep"))  # set by the command that reads the active jobs
        yield worker


def kill_a_worker_that_holds(world: World, store: Any, variant: str) -> None:
    """Kill a worker in its delivery, then let the timeout pass after which a sweep takes its job for stuck."""
    with slow_worker_that_has_swept(world, store, variant):
        world.schedule("killed", variant=variant)
        eventually(lambda: store.lrange("saq:default:active", 0, -1) and job(store)["status"] == "active")
    stored = job(store)
    store.set(JOB + "killed/1", json.dumps({**stored, "started": stored["started"] - 10_001}))
    store.delete("saq:default:sweep")  # the lock of the sweep at the start of that worker


def job(store: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.get(JOB + "killed/1"))
    return found


def test_a_job_of_a_killed_worker_is_aborted_by_default(world: World, store: Any) -> None:
    kill_a_worker_that_holds(world, store, "")
    assert (world.pending()["killed/1"].state, world.pending()["killed/1"].back_after_s) == ("held", None)

    with world.worker():
        eventually(lambda: world.pending()["killed/1"].state == "failed")

    assert world.delivered() == []


def test_a_job_of_a_killed_worker_is_executed_again_by_the_tuned_one(world: World, store: Any) -> None:
    kill_a_worker_that_holds(world, store, ":tuned")
    assert world.pending(":tuned")["killed/1"].back_after_s == 35.0

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["killed/1"])


def test_a_worker_that_is_killed_in_its_sweep_loses_the_job_that_it_sweeps(world: World, store: Any) -> None:
    """It takes the job out of the active ones, waits for 5 s, and then queues it."""
    kill_a_worker_that_holds(world, store, ":tuned")
    with world.worker(":tuned"):
        # Two commands of its sweep: the mark, then the removal from the active ones.
        eventually(lambda: job(store)["status"] == "aborting" and not store.llen("saq:default:active"))
    held = world.pending(":tuned")["killed/1"]
    assert (held.where, held.back_after_s) == ("active, aborting", None)
    store.delete("saq:default:sweep")

    with world.worker(":tuned"):
        eventually(lambda: store.exists("saq:default:sweep"))  # swept again: SAQ looks at the active ones only
        world.schedule("new", variant=":tuned")
        eventually(lambda: world.delivered() == ["new/1"])
        # It leaves the active ones a moment after its delivery, by a command of its worker.
        eventually(lambda: not store.llen("saq:default:active") and not store.zcard("saq:default:incomplete"))


def test_a_job_that_is_completed_during_a_sweep_is_queued_again(world: World, store: Any) -> None:
    """A sweep takes a job for stuck that was taken from the queue and is not marked as active yet."""
    assert world.python(["-c", TAKEN_DURING_A_SWEEP]) == '"queued"\n'

    assert store.lrange("saq:default:queued", 0, -1) == [JOB + "a/1"]


def test_a_cancelled_job_is_not_delivered_and_its_record_has_no_expiry(world: World, store: Any) -> None:
    world.schedule("cancelled", due_at=in_an_hour())
    world.do(["cancel", "cancelled", 2], ["commit"])

    assert world.pending() == {}
    assert store.zrange("saq:default:incomplete", 0, -1) == []
    assert store.ttl(JOB + "cancelled/1") == -1


def test_a_stopped_worker_cancels_its_jobs_and_queues_them_again_by_default(world: World, store: Any) -> None:
    with slow_worker_that_has_swept(world, store) as worker:
        world.schedule("running")
        eventually(lambda: world.pending()["running/1"].state == "held")
        worker.terminate()
        eventually(lambda: store.lrange("saq:default:queued", 0, -1) == [JOB + "running/1"])
