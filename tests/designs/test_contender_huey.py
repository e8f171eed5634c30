"""Where a killed consumer of Huey loses tasks, and what a revoke does."""

from __future__ import annotations

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
DUE_AT = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
MOVE = """
import datetime
from tasks import deliver, huey

eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)
deliver.schedule(args=("moved", 1), eta=eta, id="moved/1")
huey.execute(huey.dequeue())  # what a worker does with a task that is not due
[task] = huey.read_schedule(datetime.datetime(2100, 1, 1))  # what the scheduler does first; enqueue() comes second
print(task.id, len(huey.scheduled()), len(huey.pending()))
"""

REVOKED_MEANWHILE = """
import tuned_tasks

def revoked_and_failed(key, revision):
    tuned_tasks.huey.revoke_by_id("a/1")
    raise OSError("the gateway does not answer")

tuned_tasks.send = revoked_and_failed
tuned_tasks.deliver.schedule(args=("a", 1), delay=0, id="a/1")
tuned_tasks.huey.execute(tuned_tasks.huey.dequeue())
[retry] = tuned_tasks.huey.scheduled()
print(retry.id, tuned_tasks.huey.is_revoked(retry))
"""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("huey", settings, engine, tempdir, tmp_path)


@pytest.fixture
def store(world: World) -> Iterator[Any]:
    with redis.Redis.from_url(world.settings.broker_url) as store:
        yield store


@pytest.mark.parametrize("variant", ["", ":tuned"])
def test_a_task_that_a_killed_consumer_executes_is_lost(world: World, variant: str) -> None:
    world.schedule("executed", variant=variant)
    with world.worker(variant, delivery=SLOW):
        eventually(lambda: not world.pending())

    world.schedule("new", variant=variant)
    with world.worker(variant):
        eventually(lambda: world.delivered() == ["new/1"])

    assert world.pending() == {}


def test_a_due_task_is_in_no_list_between_the_two_commands_that_move_it_to_the_queue(world: World) -> None:
    assert world.python(["-c", MOVE]).split() == ["moved/1", "0", "0"]
    assert world.pending() == {}


def test_a_task_passes_the_queue_on_its_way_to_the_schedule(world: World) -> None:
    world.schedule("in an hour", due_at=in_an_hour())
    assert world.pending()["in an hour/1"].where == "huey.redis.duetime"

    with world.worker():
        eventually(lambda: world.pending()["in an hour/1"].where == "huey.schedule.duetime")


def test_a_revoke_that_comes_while_an_attempt_is_executed_does_not_reach_the_retry(world: World) -> None:
    assert world.python(["-c", REVOKED_MEANWHILE]).split() == ["a/1", "False"]
    assert list(world.pending(":tuned")) == ["a/1"]


def test_a_revoked_task_is_not_executed_and_its_mark_stays_in_redis(world: World, store: Any) -> None:
    world.do(
        ["schedule", "replaced", 1, DUE_AT],
        ["schedule", "cancelled", 1, DUE_AT],
        ["commit"],
        ["schedule", "replaced", 2, DUE_AT],
        ["cancel", "cancelled", 2],
        ["commit"],
    )

    with world.worker():
        eventually(lambda: not store.llen("huey.redis.duetime") and world.delivered() == ["replaced/2"])

    assert sorted(store.hkeys("huey.results.duetime")) == [b"r:cancelled/1", b"r:replaced/1"]
