"""Awa: what its store holds, the jobs of a killed worker, and a cancel, which is not part of the transaction."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import Engine, text

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, in_an_hour, world_of

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""
INSERT_FOR_ONE_ATTEMPT = """
import awa
from jobs import DATABASE_URL, Deliver
awa.Client(DATABASE_URL).insert(Deliver("hopeless", 1), max_attempts=1)
"""
LEADER = 0x4157415F4D41494E
"""The advisory lock of the one worker that moves due jobs."""
MOVE = text("INSERT INTO awa.deferred_jobs SELECT * FROM jsonb_populate_record(NULL::awa.deferred_jobs, :row)")


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("awa", settings, engine, tempdir, tmp_path)


def states(world: World) -> dict[str, str]:
    return {op: pending.where.split(", ")[1] for op, pending in world.pending().items()}


def seen_running_in_the_view(world: World) -> bool:
    with world.engine.connect() as connection:
        return bool(connection.execute(text("SELECT id FROM awa.jobs WHERE state = 'running'")).all())


def session(world: World, condition: str) -> bool:
    """Return True if there is a session like this."""
    with world.engine.connect() as connection:
        return bool(connection.execute(text(f"SELECT pid FROM pg_stat_activity WHERE {condition}")).all())


def test_the_job_of_a_killed_worker_is_executed_again_by_the_tuned_one_unless_it_was_cancelled(world: World) -> None:
    with world.worker(":tuned", delivery=SLOW):
        for key in ("kept", "replaced", "cancelled"):
            world.schedule(key)
        eventually(lambda: [each.state for each in world.pending().values()] == ["held"] * 3)
        assert not seen_running_in_the_view(world)
    assert {each.back_after_s for each in world.pending().values()} == {132.5}

    world.do(["schedule", "replaced", 2], ["cancel", "cancelled", 2], ["commit"])
    assert states(world) == {"kept/1": "running", "replaced/2": "scheduled"}
    with world.worker(":tuned"):
        eventually(lambda: list(world.pending()) == ["replaced/2"])

    assert world.delivered() == ["kept/1"]


def test_what_waits_for_a_busy_worker_is_available(world: World) -> None:
    with world.worker(delivery=SLOW):
        for number in range(6):
            world.schedule(f"{number}")
        eventually(lambda: sorted(states(world).values()) == ["available"] * 2 + ["running"] * 4)


def test_a_job_that_has_used_up_its_attempts_is_held_as_failed(world: World) -> None:
    world.python(["-c", INSERT_FOR_ONE_ATTEMPT])
    with world.process(environment={"DUETIME_GATEWAY_URL": "http://127.0.0.1:9/"}):
        eventually(lambda: [(op, each.state) for op, each in world.pending().items()] == [("hopeless/1", "failed")])


def test_a_cancel_of_what_is_delivered_is_no_error(world: World) -> None:
    with world.worker():
        world.schedule("delivered")
        eventually(lambda: world.delivered() == ["delivered/1"] and not world.pending())
    world.do(["cancel", "delivered", 2], ["commit"], ["cancel", "unknown", 2], ["commit"])


def test_an_older_job_waits_until_the_commit_is_followed_by_its_cancel(world: World) -> None:
    world.schedule("moved", due_at=in_an_hour())
    world.do(["schedule", "moved", 2], ["rollback"])
    assert list(world.pending()) == ["moved/1"]

    world.do(["schedule", "moved", 2], ["cancel", "moved", 2], ["commit"])
    assert list(world.pending()) == ["moved/2"]


def test_a_cancel_finds_a_job_that_is_moved_at_that_moment(world: World) -> None:
    """Awa moves a due job in one transaction, and its own cancel() then answers that there is no such job."""
    world.schedule("due")
    cancelling = Thread(target=world.do, args=(["cancel", "due", 2], ["commit"]))
    with world.engine.begin() as moving:
        row = moving.execute(text("DELETE FROM awa.deferred_jobs RETURNING to_jsonb(deferred_jobs)")).scalar_one()
        cancelling.start()
        eventually(lambda: session(world, "wait_event_type = 'Lock'"))
        moving.execute(MOVE, {"row": json.dumps(row)})
    cancelling.join()

    assert world.pending() == {}


def test_due_jobs_wait_for_a_leader_and_a_worker_asks_to_be_it_every_ten_seconds(world: World) -> None:
    with world.engine.connect() as leader:
        leader.execute(text(f"SELECT pg_advisory_lock({LEADER})"))
        started_at = datetime.now(UTC)
        with world.worker():
            world.schedule("due")
            eventually(lambda: session(world, "query LIKE 'SELECT pg_try_advisory_lock%' AND state = 'idle'"))
            assert states(world) == {"due/1": "scheduled"}
            leader.close()
            eventually(lambda: world.delivered() == ["due/1"])
    assert datetime.now(UTC) - started_at > timedelta(seconds=10)
