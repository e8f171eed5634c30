"""RedBeat's lock, what it marks as run before it is sent, and due times that are not in the future."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, in_an_hour, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
BEAT = 1
"""The place of beat among the roles."""
LOCK = "redbeat::lock"
SCHEDULE = "redbeat::schedule"
NAIVE = """
import json
from datetime import datetime, timedelta, timezone
from celeryapp import app
from redbeat import RedBeatSchedulerEntry
from redbeat.schedules import rrule

now = datetime.now(timezone.utc)
scores = []
for early_s in (2, 0, -3600):
    rule = rrule("SECONDLY", dtstart=now - timedelta(seconds=early_s), count=1, app=app)
    scores.append(RedBeatSchedulerEntry(str(early_s), "another", rule, app=app).save().score)
print(json.dumps(scores))
"""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("redbeat", settings, engine, tempdir, tmp_path)


@pytest.fixture
def store(world: World) -> Iterator[Any]:
    with redis.Redis.from_url(world.settings.broker_url, decode_responses=True) as store:
        yield store


def test_an_entry_that_is_due_when_it_is_made_has_no_occurrence(world: World) -> None:
    past, now, future = json.loads(world.python(["-c", NAIVE]).splitlines()[-1])

    assert (past, now) == (-1, -1)  # never selected, because a score below zero is not
    assert future > 0

    world.schedule("adapted")
    assert list(world.pending()) == ["adapted/1"]


def test_a_replaced_entry_is_removed_and_a_repeated_call_changes_nothing(world: World, store: Any) -> None:
    due_at = in_an_hour()
    world.schedule("moved", due_at=due_at)
    world.schedule("moved", 2, due_at=due_at)
    world.schedule("moved", 2, due_at=due_at)

    assert list(world.pending()) == ["moved/2"]
    assert store.keys("redbeat:moved/*") == ["redbeat:moved/2"]


def test_a_task_that_redis_does_not_take_is_marked_as_run(world: World, store: Any) -> None:
    world.schedule("refused", variant=":tuned")
    store.execute_command("ACL", "SETUSER", "default", "-lpush")
    try:
        with world.process(":tuned", role=BEAT):
            eventually(lambda: store.zscore(SCHEDULE, "redbeat:refused/1") == -1)
    finally:
        store.execute_command("ACL", "SETUSER", "default", "+lpush")

    world.schedule("new", variant=":tuned")
    with world.process(":tuned", role=BEAT), world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["new/1"])
    assert "refused/1" not in world.pending(":tuned")


def test_the_lock_of_a_killed_beat_lives_on_for_25_minutes_by_default_and_5_s_tuned(world: World, store: Any) -> None:
    with world.process(role=BEAT):
        eventually(lambda: store.exists(LOCK))
    assert 1_400_000 < store.pttl(LOCK) <= 1_500_000

    store.delete(LOCK)
    with world.process(":tuned", role=BEAT):
        eventually(lambda: store.exists(LOCK))
    assert store.pttl(LOCK) <= 5_000
