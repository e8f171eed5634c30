"""delayed_job: how long the job of a dead worker is locked, and what stops a worker that is alive."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""
AGE = text("UPDATE delayed_jobs SET locked_at = locked_at - CAST(:by AS interval) WHERE locked_at IS NOT NULL")
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() "
    "AND query LIKE '%FOR UPDATE%'"
)
CLOSE = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND query LIKE 'UPDATE \"delayed_jobs\"%'"
)


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("delayed_job", settings, engine, tempdir, tmp_path)


def age(world: World, by: str) -> None:
    with world.engine.begin() as connection:
        connection.execute(AGE, {"by": by})


def test_the_job_of_a_killed_worker_is_locked_for_four_hours(world: World) -> None:
    world.schedule("killed")
    with world.worker(delivery=SLOW):
        eventually(lambda: world.pending()["killed/1"].state == "held")

    age(world, "3 hours 50 minutes")
    with world.worker():
        world.schedule("new")
        eventually(lambda: world.delivered() == ["new/1"])
        held = world.pending()["killed/1"]
        assert (held.state, held.back_after_s) == ("held", 4 * 3600 + 5)

        age(world, "10 minutes 1 second")
        eventually(lambda: world.delivered() == ["new/1", "killed/1"])


def test_a_cancelled_job_of_a_killed_worker_is_not_retried_and_the_others_are(world: World) -> None:
    world.schedule("kept")
    with world.worker(":tuned", delivery=SLOW):
        eventually(lambda: world.pending()["kept/1"].state == "held")
    world.schedule("cancelled")
    with world.worker(":tuned", delivery=SLOW):
        eventually(lambda: world.pending()["cancelled/1"].state == "held")

    world.do(["cancel", "cancelled", 2], ["commit"])
    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["kept/1"])
        eventually(lambda: world.pending() == {})


def test_an_open_transaction_that_cancels_a_due_job_blocks_the_workers(world: World) -> None:
    world.schedule("first")
    world.schedule("second")
    with world.engine.connect() as application:
        application.execute(text("DELETE FROM delayed_jobs WHERE notification_key = 'first'"))
        with world.worker(":tuned"):
            eventually(lambda: waiting_for_a_lock(world) == 1)
            assert world.delivered() == []

            application.commit()
            eventually(lambda: world.delivered() == ["second/1"])


def waiting_for_a_lock(world: World) -> int:
    with world.engine.connect() as connection:
        count: int = connection.execute(WAITING).scalar_one()
        return count


def test_a_worker_whose_connection_was_closed_ends_after_ten_failed_looks(world: World) -> None:
    with world.worker(":tuned") as worker:
        world.schedule("before")
        # Deleted too: a connection that breaks before that ends the worker at once.
        eventually(lambda: world.delivered() == ["before/1"] and world.pending() == {})
        with world.engine.begin() as connection:
            eventually(lambda: connection.execute(CLOSE).scalar_one() == 1)
        world.schedule("after")
        eventually(lambda: "FatalBackendError" in (world.directory / f"{worker.name}.log").read_text())

    assert world.delivered() == ["before/1"]
