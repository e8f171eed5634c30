"""BullMQ: what becomes of the jobs of a killed worker, also if they are cancelled or replaced meanwhile."""

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
LOOKED = "bull:deliver:stalled-check"
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("bullmq", settings, engine, tempdir, tmp_path)


@pytest.fixture
def store(world: World) -> Iterator[Any]:
    with redis.Redis.from_url(world.settings.broker_url, decode_responses=True) as store:
        yield store


def expire(store: Any, *names: str) -> None:
    """Let the rest of half a minute pass at once."""
    for name in names:
        store.pexpire(name, 1)


def test_a_job_of_a_killed_worker_is_locked_for_half_a_minute_and_then_executed_again(world: World, store: Any) -> None:
    world.schedule("killed")
    with world.worker(delivery=SLOW):
        eventually(lambda: world.pending()["killed/1"].state == "held")
    [lock] = store.keys("bull:deliver:*:lock")
    assert 0 < store.pttl(lock) <= 30_000

    with world.worker():  # one job at a time, and the second look is half a minute after the first
        world.schedule("new")
        eventually(lambda: world.delivered() == ["new/1"])
        held = world.pending()["killed/1"]
        assert (held.state, held.back_after_s) == ("held", 90.0)
        assert 0 < store.pttl(LOOKED) <= 30_000

    expire(store, lock, LOOKED)
    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["new/1", "killed/1"])


def test_a_cancelled_job_of_a_killed_worker_delivers_nothing_and_the_others_are_delivered(world: World) -> None:
    for key in ("replaced", "cancelled", "kept"):
        world.schedule(key, variant=":tuned")
    with world.worker(":tuned", delivery=SLOW):
        eventually(lambda: [each.state for each in world.pending().values()] == ["held"] * 3)

    world.do(["schedule", "replaced", 2], ["cancel", "cancelled", 2], ["commit"], variant=":tuned")
    assert sorted(world.pending()) == ["kept/1", "replaced/2"]
    with world.worker(":tuned"):
        eventually(lambda: list(world.pending()) == ["replaced/2"])

    assert world.delivered() == ["kept/1"]


def test_a_newer_revision_replaces_a_job_that_is_due_and_waits_for_a_worker(world: World, store: Any) -> None:
    world.schedule("due")
    assert world.pending()["due/1"].where == "bull:deliver:wait"

    world.schedule("due", 2, due_at=in_an_hour())

    assert list(world.pending()) == ["due/2"]
    assert world.pending()["due/2"].where == "bull:deliver:delayed"
    assert store.llen("bull:deliver:wait") == 0
