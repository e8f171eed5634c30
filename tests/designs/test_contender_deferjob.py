"""deferjob: a job that a worker has begun, or that a dead one holds."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""
AGE = text("UPDATE defer_jobs SET locked_at = locked_at - interval '16 minutes' WHERE status = 'running'")

# The last statement of an idle connection of deferjob; those of this test end with a ROLLBACK.
KEPT = text(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query = 'COMMIT'"
)


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("deferjob", settings, engine, tempdir, tmp_path)


def test_the_job_of_a_killed_worker_is_executed_again_after_15_minutes_by_default(world: World) -> None:
    world.schedule("killed")
    with world.worker(delivery=SLOW):
        eventually(lambda: world.pending()["killed/1"].state == "held")

    world.schedule("new")
    with world.worker():
        eventually(lambda: world.delivered() == ["new/1"])
        assert (world.pending()["killed/1"].state, world.pending()["killed/1"].back_after_s) == ("held", 960.0)

    with world.engine.begin() as connection:
        connection.execute(AGE)  # instead of the rest of the 15 minutes
    with world.worker():
        eventually(lambda: world.delivered() == ["new/1", "killed/1"])


def test_the_job_of_a_killed_worker_cannot_be_moved_or_cancelled_and_is_executed_by_the_tuned_one(world: World) -> None:
    world.schedule("killed")
    with world.worker(":tuned", delivery=SLOW):
        eventually(lambda: world.pending(":tuned")["killed/1"].state == "held")

    with pytest.raises(AssertionError, match="JobExists"):
        world.schedule("killed", 2)
    with pytest.raises(AssertionError, match="JobNotPending"):
        world.do(["cancel", "killed", 2], ["commit"])

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["killed/1"])


def test_a_tuned_job_has_more_attempts_because_they_come_sooner(world: World) -> None:
    world.schedule("default")
    world.schedule("tuned", variant=":tuned")

    with world.engine.connect() as connection:
        found = connection.execute(text("SELECT key, max_attempts FROM defer_jobs ORDER BY key")).all()
    assert [tuple(row) for row in found] == [("default", 5), ("tuned", 20)]


def test_the_tuned_worker_keeps_its_connection_and_ends_when_it_is_asked_to(world: World) -> None:
    def kept() -> list[int]:
        with world.engine.connect() as connection:
            return list(connection.execute(KEPT).scalars())

    with world.worker(":tuned") as worker:
        world.schedule("first")
        eventually(lambda: world.delivered() == ["first/1"])
        eventually(lambda: len(kept()) == 1)
        connection = kept()
        world.schedule("second")
        eventually(lambda: world.delivered() == ["first/1", "second/1"])
        eventually(lambda: kept() == connection)

        worker.terminate()
        assert worker.wait_stopped(until=time.monotonic() + 20.0)
