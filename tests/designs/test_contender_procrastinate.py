"""What happens to the jobs of a killed worker of Procrastinate."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from duetime.settings import Settings
from tests.designs.contender_world import World, eventually, world_of

pytestmark = pytest.mark.processes
SLOW = timedelta(minutes=1)
"""A delivery that is not finished when the test ends."""


@pytest.fixture
def world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> World:
    return world_of("procrastinate", settings, engine, tempdir, tmp_path)


def test_a_job_of_a_killed_worker_is_never_taken_again_by_default_and_retried_by_the_tuned_worker(world: World) -> None:
    with world.worker(delivery=SLOW):
        world.schedule("killed")
        eventually(lambda: world.pending()["killed/1"].state == "held")

    with world.worker():
        world.schedule("new")
        eventually(lambda: world.delivered() == ["new/1"])
        held = world.pending()
    assert list(held) == ["killed/1"]
    assert (held["killed/1"].state, held["killed/1"].back_after_s) == ("held", None)
    assert world.pending(":tuned")["killed/1"].back_after_s == 6.0

    with world.worker(":tuned"):
        eventually(lambda: world.delivered() == ["new/1", "killed/1"])


def test_a_cancelled_job_of_a_killed_worker_is_not_retried_and_the_others_are(world: World) -> None:
    with world.worker(":tuned", delivery=SLOW):
        for key in ("replaced", "cancelled", "kept"):
            world.schedule(key)
        eventually(lambda: [each.state for each in world.pending().values()] == ["held"] * 3)

    # A newer job with the same queueing lock waits, so the old one could not return to the queue.
    world.do(["schedule", "replaced", 2], ["cancel", "cancelled", 2], ["commit"])
    held = {op: each.back_after_s for op, each in world.pending(":tuned").items() if each.state == "held"}
    assert held == {"replaced/1": None, "cancelled/1": None, "kept/1": 6.0}
    with world.worker(":tuned"):
        eventually(lambda: list(world.pending()) == ["replaced/2"])

    assert world.delivered() == ["kept/1"]
