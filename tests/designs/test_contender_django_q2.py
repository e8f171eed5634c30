"""What the adapter writes for Django Q2, and what happens to the tasks of a killed cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, in_an_hour, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""
SETUP = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
"""
SCHEDULE = """
import datetime
from django_q.tasks import schedule
schedule("tasks.deliver", "a", 1, name="a", next_run=datetime.datetime(2100, 1, 1, tzinfo=datetime.timezone.utc))
"""
SCHEDULER = """
from django_q.scheduler import scheduler
scheduler()
"""
"""What each cluster does every 30 s."""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("django_q2", settings, engine, tempdir, tmp_path)


def test_the_adapter_writes_the_row_that_the_library_would_write(world: World) -> None:
    world.python(["-c", SETUP + SCHEDULE])
    world.schedule("b", due_at=datetime(2100, 1, 1, tzinfo=UTC))

    with world.engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM django_q_schedule ORDER BY name")).mappings().all()

    library, adapter = ({**row, "id": None, "name": None} for row in rows)
    assert library == {**adapter, "args": "('a', 1)"}
    assert adapter["args"] == "('b', 1)"


def test_a_cancel_and_a_newer_revision_change_the_schedule_and_leave_a_task_that_was_created_from_it(
    world: World,
) -> None:
    due_at = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    world.do(["schedule", "queued", 1, due_at], ["schedule", "moved", 1], ["schedule", "cancelled", 1], ["commit"])
    world.do(["schedule", "moved", 2], ["schedule", "moved", 1], ["cancel", "cancelled", 2], ["commit"])
    world.python(["-c", SETUP + SCHEDULER])
    world.do(["cancel", "queued", 2], ["commit"])

    assert {op: each.where for op, each in world.pending().items()} == {
        "moved/2": "django_q_schedule",
        "queued/1": "django_q_ormq",
    }


def test_a_schedule_is_found_by_the_scheduler_alone_and_a_task_of_a_killed_cluster_when_its_lock_has_expired(
    world: World,
) -> None:
    world.schedule("executed")
    world.schedule("in an hour", due_at=in_an_hour())
    with world.worker(delivery=SLOW):  # its scheduler looks after 30 s
        assert world.pending()["executed/1"].where == "django_q_schedule"
        world.python(["-c", SETUP + SCHEDULER])
        eventually(lambda: world.pending()["executed/1"].state == "held")

    with world.worker(":tuned"):
        held = world.pending()["executed/1"]
        assert (held.state, held.back_after_s) == ("held", 60.0)
        assert world.delivered() == []
        with world.engine.begin() as connection:  # instead of the rest of the minute
            connection.execute(text("UPDATE django_q_ormq SET lock = now()"))
        eventually(lambda: world.delivered() == ["executed/1"])
        eventually(lambda: list(world.pending()) == ["in an hour/1"])
