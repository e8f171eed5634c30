"""What beat has recorded of what it sent, and what Redis still has of a killed worker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
BEAT = 1
"""The place of beat among the roles."""
UNSENT = text(
    "SELECT count(*) FROM django_celery_beat_periodictask WHERE task = 'deliver' AND enabled AND total_run_count = 0"
)
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("django_celery_beat", settings, engine, tempdir, tmp_path)


@pytest.fixture
def store(world: World) -> Iterator[Any]:
    with redis.Redis.from_url(world.settings.broker_url, decode_responses=True) as store:
        yield store


@pytest.mark.parametrize(("variant", "sent_again"), [("", 1), (":tuned", 0)])
def test_a_killed_beat_sends_again_what_it_had_not_recorded(
    world: World, store: Any, variant: str, sent_again: int
) -> None:
    world.do(*(["schedule", key, 1, "2020-01-01T00:00:00Z"] for key in ("a", "b")), ["commit"])
    with world.process(variant, role=BEAT):
        eventually(lambda: store.llen("celery") == 2)
        # It records the first one that it sends, and by default the next one three minutes later.
        eventually(lambda: unsent(world) == sent_again)

    world.schedule("new")
    with world.process(variant, role=BEAT):
        eventually(lambda: store.llen("celery") == 3 + sent_again)


def unsent(world: World) -> int:
    """Return how many tasks beat would send after a restart."""
    with world.engine.connect() as connection:
        return int(connection.execute(UNSENT).scalar_one())


def test_a_task_that_redis_does_not_take_counts_as_run(world: World, store: Any) -> None:
    world.schedule("refused")
    store.config_set("maxmemory", 1)
    try:
        with world.process(role=BEAT):
            eventually(lambda: world.pending() == {})
    finally:
        store.config_set("maxmemory", 0)

    world.schedule("new")
    with world.process(role=BEAT), world.worker():
        eventually(lambda: world.delivered() == ["new/1"])


def test_what_a_killed_worker_was_executing_is_lost_by_default_and_executed_again_by_the_tuned_one(
    world: World, store: Any
) -> None:
    world.schedule("lost")
    with world.process(role=BEAT), world.worker(delivery=SLOW):
        eventually(lambda: world.pending() == {})  # sent, recorded, and acknowledged before it was executed

    world.schedule("kept")
    with world.process(":tuned", role=BEAT), world.worker(":tuned", delivery=SLOW):
        eventually(lambda: store.hlen("unacked") == 1)
    held = world.pending(":tuned")["kept/1"]
    assert (held.state, held.back_after_s) == ("held", 5.0)

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["kept/1"])
