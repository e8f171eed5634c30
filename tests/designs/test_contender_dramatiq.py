"""Dramatiq's delayed messages when their worker is killed or loses Redis, and what a cancel does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from duetime.harness.processes.proxy_control import link_to_broker
from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, in_an_hour, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""
DUE_AT = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("dramatiq", settings, engine, tempdir, tmp_path)


@pytest.fixture
def store(world: World) -> Iterator[Any]:
    with redis.Redis.from_url(world.settings.broker_url, decode_responses=True) as store:
        yield store


def test_a_killed_worker_holds_also_what_is_not_due_and_the_tuned_one_takes_it_over(world: World, store: Any) -> None:
    with world.worker(delivery=SLOW):
        world.schedule("executed")
        world.schedule("in an hour", due_at=in_an_hour())
        eventually(lambda: [each.state for each in world.pending().values()] == ["held"] * 2)
    of_the_killed = set(store.scan_iter("dramatiq:__acks__.*"))

    with world.worker():
        world.schedule("new")
        eventually(lambda: world.delivered() == ["new/1"])
        assert of_the_killed <= set(store.scan_iter("dramatiq:__acks__.*"))
    assert {op: each.state for op, each in world.pending().items()} == {"executed/1": "held", "in an hour/1": "held"}
    assert (world.pending()["executed/1"].back_after_s, world.pending(":tuned")["executed/1"].back_after_s) == (1500, 6)

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["new/1", "executed/1"])
        eventually(lambda: not of_the_killed & set(store.scan_iter("dramatiq:__acks__.*")))
    assert list(world.pending()) == ["in an hour/1"]


def test_a_cancel_and_a_newer_revision_stop_nothing_by_default_and_abort_the_message_of_the_tuned_one(
    world: World,
) -> None:
    for variant in ("", ":tuned"):
        replaced, cancelled = f"replaced{variant}", f"cancelled{variant}"
        world.do(
            ["schedule", replaced, 1, DUE_AT],
            ["schedule", cancelled, 1, DUE_AT],
            ["commit"],
            ["schedule", replaced, 2, DUE_AT],
            ["cancel", cancelled, 2],
            ["commit"],
            variant=variant,
        )

    with world.worker(":tuned"):
        eventually(lambda: not world.pending() and len(world.delivered()) == 4)

    assert sorted(world.delivered()) == ["cancelled/1", "replaced/1", "replaced/2", "replaced:tuned/2"]


def test_an_abort_stops_one_copy_of_a_message_and_the_next_is_executed(world: World, store: Any) -> None:
    """A worker that is killed before it acknowledges the message that it skipped leaves such a copy."""
    schedule = ["schedule", "copied", 1, DUE_AT]
    world.do(schedule, ["commit"], schedule, ["commit"], ["cancel", "copied", 2], ["commit"], variant=":tuned")
    assert list(world.pending(":tuned")) == []

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["copied/1"])

    assert not store.keys("dramatiq:aborts:*")


@pytest.mark.full
def test_a_worker_that_lost_redis_holds_its_delayed_messages_until_another_takes_them_for_those_of_a_dead_one(
    world: World, tempdir: Path
) -> None:
    due_at = datetime.now(UTC) + timedelta(seconds=20)
    world.schedule("delayed", due_at=due_at)
    with link_to_broker(world.settings.broker_url, tempdir=tempdir) as (through, link):
        behind = replace(world, settings=replace(world.settings, broker_url=through))
        with behind.worker() as worker:
            eventually(lambda: world.pending()["delayed/1"].state == "held")
            link.send("cut")
            log = world.directory / f"{worker.name}.log"
            eventually(lambda: log.read_text().count("ConsumerThread(default.DQ)] [CRITICAL]") >= 2)  # two processes
            assert datetime.now(UTC) < due_at
            link.send("pass")

            world.schedule("new", due_at=due_at + timedelta(seconds=1))
            eventually(lambda: world.delivered() == ["new/1"])
            assert world.pending()["delayed/1"].state == "held"

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["new/1", "delayed/1"])
