"""pg-boss: one job every 2 s for each worker, and what becomes of the jobs of a killed one."""

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
EXPIRE = text("UPDATE pgboss.job SET started_on = started_on - interval '15 minutes' WHERE state = 'active'")
STARTED = text("SELECT CAST(extract(epoch FROM started_on) AS float) FROM pgboss.job ORDER BY started_on")
KEPT = text("SELECT CAST(extract(epoch FROM keep_until - start_after) AS integer) FROM pgboss.job")


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("pg_boss", settings, engine, tempdir, tmp_path)


def test_each_of_the_five_workers_takes_a_job_every_two_seconds(world: World) -> None:
    steps = [["schedule", f"due {number}", 1, "2020-01-01T00:00:00+00:00"] for number in range(11)]
    world.do(*steps, ["commit"])

    with world.worker():
        eventually(lambda: len(world.delivered()) == 11)

    with world.engine.connect() as connection:
        started_s = connection.execute(STARTED).scalars().all()
    # Two rounds of five, and then one: the first round also waited for connections.
    assert started_s[10] - started_s[5] > 1.5


def test_a_job_of_a_killed_worker_is_taken_again_after_fifteen_minutes(world: World) -> None:
    world.schedule("killed")
    with world.worker(delivery=SLOW):
        eventually(lambda: world.pending()["killed/1"].state == "held")

    held = world.pending()["killed/1"]
    assert (held.state, held.back_after_s) == ("held", 900 + 120)

    with world.worker(":tuned"):  # looks for expired jobs every second; the job has the default of 15 minutes
        world.schedule("new")
        eventually(lambda: world.delivered() == ["new/1"])
        assert world.pending()["killed/1"].state == "held"

        with world.engine.begin() as connection:
            connection.execute(EXPIRE)
        eventually(lambda: world.delivered() == ["new/1", "killed/1"])


def test_a_cancelled_job_of_a_killed_worker_is_not_retried_and_the_others_are(world: World) -> None:
    for key in ("replaced", "cancelled", "kept"):
        world.schedule(key, variant=":tuned")
    with world.worker(":tuned", delivery=SLOW):
        eventually(lambda: [each.state for each in world.pending().values()] == ["held"] * 3)

    world.do(["schedule", "replaced", 2], ["cancel", "cancelled", 2], ["commit"], variant=":tuned")
    with world.worker(":tuned"):
        eventually(lambda: list(world.pending()) == ["replaced/2"])

    assert world.delivered() == ["kept/1"]


def test_a_job_is_kept_for_fourteen_days_after_it_is_due_and_not_after_it_was_scheduled(world: World) -> None:
    world.do(["schedule", "far", 1, "2040-01-01T00:00:00+00:00"], ["commit"])

    with world.engine.connect() as connection:
        assert connection.execute(KEPT).scalar_one() == 14 * 86400
