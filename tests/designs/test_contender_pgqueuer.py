"""PgQueuer's jobs of a killed worker, which come back after its heartbeat timeout, and its place in a transaction."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, in_an_hour, world_of

pytestmark = [pytest.mark.processes, pytest.mark.full, pytest.mark.contenders]
IN_FLIGHT = timedelta(seconds=4)
"""Long enough to kill the worker between the delivery, half-way, and its answer."""

OPTIONS = text("SELECT reloptions FROM pg_class WHERE oid = CAST('pgqueuer' AS regclass)")


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("pgqueuer", settings, engine, tempdir, tmp_path)


def kill_a_worker_that_has_delivered(world: World, key: str, variant: str = "") -> None:
    with world.worker(variant, delivery=IN_FLIGHT):
        world.schedule(key)
        eventually(lambda: world.delivered() == [f"{key}/1"])


def test_a_delivered_job_of_a_killed_worker_is_held_and_comes_back_after_30_s(world: World) -> None:
    kill_a_worker_that_has_delivered(world, "killed")
    held = world.pending()["killed/1"]
    assert (held.state, held.back_after_s) == ("held", 60.0)

    with world.worker():
        world.schedule("new")
        eventually(lambda: world.delivered() == ["killed/1", "new/1"])
        assert world.pending()["killed/1"].state == "held"
        make_heartbeats_older(world, by_s=30)
        world.schedule("waking")  # otherwise the worker looks again after 30 s
        eventually(lambda: sorted(world.delivered()[2:]) == ["killed/1", "waking/1"])


def make_heartbeats_older(world: World, *, by_s: int) -> None:
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE pgqueuer SET heartbeat = heartbeat - make_interval(secs => :s)"), {"s": by_s})


def test_the_tuned_worker_repeats_it_within_four_seconds(world: World) -> None:
    kill_a_worker_that_has_delivered(world, "killed", ":tuned")
    assert world.pending(":tuned")["killed/1"].back_after_s == 4.0

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["killed/1"] * 2)


def test_a_cancelled_job_of_a_killed_worker_does_not_come_back(world: World) -> None:
    kill_a_worker_that_has_delivered(world, "killed")

    world.do(["cancel", "killed", 2], ["commit"])

    assert world.pending() == {}


def test_the_due_time_is_kept_to_the_microsecond(world: World) -> None:
    due_at = in_an_hour()
    world.schedule("a", due_at=due_at)

    with world.engine.connect() as connection:
        assert connection.execute(text("SELECT execute_after FROM pgqueuer")).scalar_one() == due_at


def test_the_tuned_tables_are_vacuumed_as_its_deployment_checklist_asks(world: World) -> None:
    def options() -> set[str]:
        with world.engine.connect() as connection:
            return set(connection.execute(OPTIONS).scalar_one() or ())

    assert options() == set()
    world.design(":tuned").install(world.engine)

    assert {"autovacuum_vacuum_scale_factor=0.01", "fillfactor=70"} <= options()
