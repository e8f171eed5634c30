"""Absurd's tasks of a killed worker, which come back when the claim ends, and what a failing task becomes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
IN_FLIGHT = timedelta(seconds=4)
"""Long enough to kill the worker between the delivery, half-way, and its answer."""
CLAIM = text(
    "SELECT extract(epoch FROM claim_expires_at - started_at), attempt FROM absurd.r_default WHERE state = 'running'"
)
END_THE_CLAIM = text("UPDATE absurd.r_default SET claim_expires_at = clock_timestamp() WHERE state = 'running'")
TERMINATE = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%absurd.%'"
)
SIX_CLAIMS = "from worker import app; [app.work_batch() for _ in range(6)]"
CLOSED = "http://127.0.0.1:9/"


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("absurd", settings, engine, tempdir, tmp_path)


def kill_a_worker_that_has_delivered(world: World) -> None:
    with world.worker(delivery=IN_FLIGHT):
        world.schedule("killed")
        eventually(lambda: world.delivered() == ["killed/1"])


def test_a_delivered_task_of_a_killed_worker_comes_back_when_the_claim_of_120_s_ends(world: World) -> None:
    kill_a_worker_that_has_delivered(world)
    held = world.pending()["killed/1"]
    assert (held.state, held.back_after_s) == ("held", 121.0)

    with world.worker():
        world.schedule("new")
        eventually(lambda: world.delivered() == ["killed/1", "new/1"])
        with world.engine.begin() as connection:
            seconds, attempt = connection.execute(CLAIM).one()
            assert (round(seconds), attempt) == (120, 1)
            connection.execute(END_THE_CLAIM)
        eventually(lambda: world.delivered() == ["killed/1", "new/1", "killed/1"])


def test_a_cancelled_task_of_a_killed_worker_does_not_come_back(world: World) -> None:
    kill_a_worker_that_has_delivered(world)

    world.do(["cancel", "killed", 2], ["commit"])

    assert world.pending() == {}


def test_a_task_longer_than_the_claim_of_the_tuned_worker_is_delivered_twice(world: World) -> None:
    with world.worker(":tuned", delivery=timedelta(seconds=10)):
        world.schedule("slow", variant=":tuned")
        eventually(lambda: world.delivered() == ["slow/1"] * 2)


def test_a_task_that_raises_an_error_fails_after_five_attempts_without_a_delay(world: World) -> None:
    world.schedule("poison")

    world.python(["-c", SIX_CLAIMS], DUETIME_GATEWAY_URL=CLOSED)

    [failed] = world.pending().values()
    assert (failed.state, failed.where) == ("failed", "absurd.t_default, failed, 5 attempts")


def test_a_worker_that_loses_its_connection_ends(world: World) -> None:
    with world.worker() as worker:
        world.schedule("before")
        eventually(lambda: world.delivered() == ["before/1"])
        with world.engine.connect() as connection:
            connection.execute(TERMINATE)

        eventually(lambda: not worker.alive())
