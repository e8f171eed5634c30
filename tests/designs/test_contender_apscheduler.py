"""What APScheduler runs late, what a killed scheduler loses, and what ends its thread."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, in_an_hour, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""
REFUSE_DELETES = """
CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE 'refused'; END $$ LANGUAGE plpgsql;
CREATE TRIGGER refuse BEFORE DELETE ON apscheduler_jobs EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("apscheduler", settings, engine, tempdir, tmp_path)


def log_of(world: World, worker: str) -> str:
    return (world.directory / f"{worker}.log").read_text()


def wait_until_past(due_at: datetime) -> None:
    eventually(lambda: datetime.now(UTC) > due_at + timedelta(seconds=1.5))


def test_a_job_more_than_a_second_late_is_dropped_by_default_and_run_by_the_tuned_scheduler(world: World) -> None:
    due_at = datetime.now(UTC) + timedelta(seconds=20)
    with world.worker():
        world.schedule("default", due_at=due_at)
    with world.worker(":tuned"):
        world.schedule("tuned", due_at=due_at, variant=":tuned")
    assert sorted(world.pending()) == ["default/1", "tuned/1"]
    wait_until_past(due_at)

    with world.worker():  # each job has the grace time that its scheduler had when it was added
        eventually(lambda: not world.pending() and world.delivered())
        eventually(lambda: "was missed by" in log_of(world, "worker-3"))

    assert world.delivered() == ["tuned/1"]


def test_a_killed_scheduler_loses_the_job_that_it_was_running(world: World) -> None:
    with world.worker(":tuned", delivery=SLOW):
        world.schedule("killed", variant=":tuned")
        world.schedule("far", due_at=in_an_hour(), variant=":tuned")
        eventually(lambda: list(world.pending()) == ["far/1"])

    with world.worker(":tuned"):
        world.schedule("new", variant=":tuned")
        eventually(lambda: world.delivered() == ["new/1"])

    assert list(world.pending()) == ["far/1"]


@pytest.mark.parametrize(("variant", "runs"), [("", 1), (":tuned", 2)])
def test_a_revision_that_falls_due_while_the_older_one_runs_is_skipped_by_default(
    world: World, variant: str, runs: int
) -> None:
    with world.worker(variant, delivery=SLOW) as worker:
        world.schedule("moved", variant=variant)
        eventually(lambda: log_of(world, worker.name).count("Running job") == 1)
        world.schedule("moved", 2, variant=variant)
        eventually(lambda: world.pending() == {})  # run, or skipped: it has left the store

        assert ("maximum number of running" in log_of(world, worker.name)) == (runs == 1)
        eventually(lambda: log_of(world, worker.name).count("Running job") == runs)


def test_a_scheduler_that_is_stopped_finishes_the_job_that_it_runs(world: World) -> None:
    with world.worker(delivery=timedelta(seconds=2)) as worker:
        world.schedule("slow")
        eventually(lambda: world.pending() == {})
        worker.terminate()
        assert worker.wait_stopped(until=time.monotonic() + 60)
        assert "status 0" in worker.exit_evidence()
    assert world.delivered() == ["slow/1"]


def test_an_error_of_the_database_after_a_job_was_submitted_ends_the_thread_and_not_the_process(
    world: World, engine: Engine
) -> None:
    with world.worker(":tuned") as worker:
        with engine.begin() as connection:
            connection.execute(text(REFUSE_DELETES))  # instead of a connection that is lost in this moment
        world.schedule("delivered", variant=":tuned")
        eventually(lambda: "refused" in log_of(world, worker.name) and world.delivered() == ["delivered/1"])
        with engine.begin() as connection:
            connection.execute(text("DROP TRIGGER refuse ON apscheduler_jobs"))
        world.schedule("accepted", variant=":tuned")
        wait_until_past(datetime.now(UTC))

        assert worker.alive()
        assert world.delivered() == ["delivered/1"]
        assert sorted(world.pending()) == ["accepted/1", "delivered/1"]

    with world.worker(":tuned"):
        eventually(lambda: sorted(world.delivered()) == ["accepted/1", "delivered/1", "delivered/1"])
