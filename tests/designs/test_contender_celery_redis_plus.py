"""When a worker with celery-redis-plus begins to receive, and what becomes of a killed worker's tasks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("celery_redis_plus", settings, engine, tempdir, tmp_path)


@pytest.fixture
def store(world: World) -> Iterator[Any]:
    with redis.Redis.from_url(world.settings.broker_url, decode_responses=True) as store:
        yield store


def test_a_worker_that_is_ready_waits_for_its_neighbours_while_its_queue_has_a_message(
    world: World, store: Any
) -> None:
    world.schedule("waiting")
    with world.worker():
        blocked = [client for client in store.client_list() if client["cmd"] == "bzmpop" and "b" in client["flags"]]
        assert blocked  # on another queue: this one has a message
        assert store.zcard("queue:celery") == 1
        eventually(lambda: world.delivered() == ["waiting/1"])


def test_a_killed_worker_loses_the_task_that_it_was_executing_by_default(world: World) -> None:
    with world.worker(delivery=SLOW):
        world.schedule("killed")
        eventually(lambda: world.pending() == {})

    with world.worker():
        world.schedule("new")
        eventually(lambda: world.delivered() == ["new/1"])
        assert world.pending() == {}


def test_a_task_of_a_killed_tuned_worker_is_held_until_a_worker_has_run_for_a_minute(world: World, store: Any) -> None:
    with world.worker(":tuned", delivery=SLOW):
        world.schedule("killed", variant=":tuned")
        eventually(lambda: [each.state for each in world.pending(":tuned").values()] == ["held"])
    assert world.pending(":tuned")["killed/1"].back_after_s == 70.0
    [(_, due)] = store.zrange("messages_index:celery", 0, -1, withscores=True)
    eventually(lambda: due <= time.time() + 60)  # the visibility timeout has passed

    with world.worker(":tuned"):  # looks for such messages after 60 s for the first time
        world.schedule("new", variant=":tuned")
        eventually(lambda: world.delivered() == ["new/1"])
        assert world.pending(":tuned")["killed/1"].state == "held"
