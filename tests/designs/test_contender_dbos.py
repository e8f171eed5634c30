"""DBOS's workflows of a killed worker, which wait for a worker with its name, and its due times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, in_an_hour, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
IN_FLIGHT = timedelta(seconds=4)
"""Long enough to kill the worker between the delivery, half-way, and its answer."""
FIRST = text("SELECT delay_until_epoch_ms FROM dbos.workflow_status")
RENAME = text("UPDATE dbos.workflow_status SET executor_id = :name WHERE status = 'PENDING'")


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("dbos", settings, engine, tempdir, tmp_path)


@pytest.mark.parametrize("variant", ["", ":tuned"])
def test_a_workflow_of_a_killed_worker_waits_for_a_worker_with_its_name_and_is_delivered_again(
    world: World, variant: str
) -> None:
    with world.worker(variant, delivery=IN_FLIGHT) as killed:
        world.schedule("killed")
        eventually(lambda: world.delivered() == ["killed/1"])
    held = world.pending()["killed/1"]
    assert (held.state, held.back_after_s) == ("held", None)
    assert held.where.endswith(f"PENDING, executor {killed.name}")

    with world.worker(variant):
        world.schedule("new")
        eventually(lambda: world.delivered() == ["killed/1", "new/1"])
        assert list(world.pending()) == ["killed/1"]

    with world.engine.begin() as connection:  # instead of another worker with the name of the first
        connection.execute(RENAME, {"name": "worker-3"})
    with world.worker(variant):
        eventually(lambda: world.delivered() == ["killed/1", "new/1", "killed/1"])


def test_a_cancelled_workflow_of_a_killed_worker_is_not_recovered(world: World) -> None:
    with world.worker(delivery=IN_FLIGHT):
        world.schedule("killed")
        eventually(lambda: world.delivered() == ["killed/1"])

    world.do(["cancel", "killed", 2], ["commit"])

    assert world.pending() == {}


def test_a_due_time_is_rounded_up_to_a_millisecond(world: World) -> None:
    due_at = in_an_hour().replace(microsecond=123_999)
    world.schedule("a", due_at=due_at)

    with world.engine.connect() as connection:
        delay_until_ms = connection.execute(FIRST).scalar_one()
    late_by = datetime.fromtimestamp(delay_until_ms / 1000, UTC) - due_at
    assert timedelta() <= late_by <= timedelta(milliseconds=2)
