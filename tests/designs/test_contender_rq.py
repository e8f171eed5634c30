"""RQ's early second, the lock of its scheduler, and the jobs of a killed worker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, world_of

pytestmark = pytest.mark.processes
LOCK = "rq:scheduler-lock:default"
MAINTENANCE = "rq:clean_registries:default"
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""
EARLY = """
import json, os, time
from datetime import datetime, timezone
from redis import Redis
from rq import Queue, Worker
from rq.registry import ScheduledJobRegistry
from rq.scheduler import RQScheduler

connection = Redis.from_url(os.environ["REDIS_URL"])
queue = Queue(connection=connection)
scheduler = RQScheduler([queue], connection=connection)
scheduler.acquire_locks()
for attempt in range(10):  # on a busy machine the rest of the second may have passed already
    second = int(time.time()) + 1
    job = queue.enqueue_at(datetime.fromtimestamp(second + 0.9, timezone.utc), "jobs.deliver", "a", attempt + 1)
    stored = ScheduledJobRegistry(queue=queue).get_scheduled_time(job).timestamp()
    time.sleep(max(0, second - time.time()))
    scheduler.enqueue_scheduled_jobs()
    Worker([queue], connection=connection).work(burst=True)
    early_s = second + 0.9 - time.time()
    if early_s > 0:
        break
print(json.dumps({"early_s": early_s, "cut_s": round(second + 0.9 - stored, 3), "op": f"a/{attempt + 1}"}))
"""
CONSTANTS = """
import json, os
from redis import Redis
from rq import Worker

worker = Worker(["default"], connection=Redis.from_url(os.environ["REDIS_URL"]))
print(json.dumps({"maintenance_s": worker.maintenance_interval, "dequeue_s": worker.dequeue_timeout}))
"""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("rq", settings, engine, tempdir, tmp_path)


@pytest.fixture
def store(world: World) -> Iterator[Any]:
    with redis.Redis.from_url(world.settings.broker_url, decode_responses=True) as store:
        yield store


def test_a_due_time_with_a_fraction_is_delivered_before_it(world: World) -> None:
    with world.gateway() as environment:
        done = last_line(world.python(["-c", EARLY], **environment))

    assert world.delivered()[-1] == done["op"]
    assert done["cut_s"] == 0.9
    assert 0 < done["early_s"] <= 0.9


@pytest.mark.parametrize(("variant", "stored_s"), [("", 1_800_000_000), (":tuned", 1_800_000_001)])
def test_a_due_time_with_a_fraction_is_cut_by_the_library_and_rounded_up_by_the_tuned_adapter(
    world: World, store: Any, variant: str, stored_s: int
) -> None:
    world.schedule("fraction", due_at=datetime.fromtimestamp(1_800_000_000.25, UTC), variant=variant)
    world.schedule("whole", due_at=datetime.fromtimestamp(1_800_000_000, UTC), variant=variant)

    scores = sorted(score for _, score in store.zrange("rq:scheduled:default", 0, -1, withscores=True))
    assert scores == [1_800_000_000, stored_s]


def last_line(output: str) -> dict[str, Any]:
    """The figures that a script printed after the library's own log."""
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    return figures


def test_the_lock_of_a_killed_scheduler_lives_on_for_a_minute(world: World, store: Any) -> None:
    with world.worker():
        eventually(lambda: store.get(LOCK))
        holder = store.get(LOCK)
    left_ms = store.pttl(LOCK)
    assert 40_000 < left_ms <= 61_000

    world.schedule("due")
    with world.worker():  # asked for the lock once, at its start, and got none
        assert store.get(LOCK) == holder
        assert store.pttl(LOCK) < left_ms
        assert world.pending()["due/1"].where == "rq:scheduled:default"

    # It asks again when its maintenance is due, which it notices after a job or after dequeue_s.
    assert last_line(world.python(["-c", CONSTANTS])) == {"maintenance_s": 600, "dequeue_s": 405}

    with world.worker(":tuned"):
        assert world.delivered() == []
        store.pexpire(LOCK, 1)  # instead of the rest of the minute
        eventually(lambda: world.delivered() == ["due/1"])


def status(store: Any) -> str | None:
    [job] = store.keys("rq:job:*")
    found: str | None = store.hget(job, "status")
    return found


def kill_a_worker_that_holds(world: World, store: Any, variant: str = "") -> None:
    """Kill a worker in its delivery, then let the minute pass after which its job counts as abandoned."""
    world.schedule("killed", variant=variant)
    with world.worker(variant, delivery=SLOW):
        # Registered before the fork, and started after it; a kill in between leaves it in the intermediate queue.
        # A kill during the maintenance of another worker leaves a lock of 15 minutes on it.
        eventually(
            lambda: store.zcard("rq:wip:default") and status(store) == "started" and not store.exists(MAINTENANCE)
        )
    [(job, expires_at)] = store.zrange("rq:wip:default", 0, -1, withscores=True)
    seconds, _ = store.time()
    assert 30 < expires_at - seconds <= 90
    store.zadd("rq:wip:default", {job: seconds - 1})
    store.pexpire(LOCK, 1)


def test_a_job_of_a_killed_worker_is_marked_as_failed_by_default(world: World, store: Any) -> None:
    kill_a_worker_that_holds(world, store)

    with world.worker():
        eventually(lambda: world.pending()["killed/1"].state == "failed")

    assert world.delivered() == []


def test_a_job_of_a_killed_worker_is_executed_again_by_the_tuned_one(world: World, store: Any) -> None:
    kill_a_worker_that_holds(world, store, ":tuned")
    held = world.pending(":tuned")["killed/1"]
    assert (held.state, held.back_after_s) == ("held", 75.0)

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["killed/1"])


@pytest.mark.full
def test_a_delivered_job_that_is_left_in_the_intermediate_queue_is_executed_again_by_the_tuned_one(
    world: World, store: Any
) -> None:
    """A connection that breaks before the first execution leaves it there; the retry of that one delivers."""
    world.schedule("twice", variant=":tuned")
    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["twice/1"] and status(store) == "finished")
        [name] = store.keys("rq:job:*")
        job = name.removeprefix("rq:job:")
        store.set(f"rq:queue:default:intermediate:first_seen:{job}", time.time() - 61)  # instead of a minute
        store.lpush("rq:queue:default:intermediate", job)
        assert world.pending(":tuned")["twice/1"].state == "held"
        eventually(lambda: world.delivered() == ["twice/1", "twice/1"])
