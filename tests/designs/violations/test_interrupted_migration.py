"""A migration that is killed and repeated loses nothing, and its duplicates are known."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from duetime import registry
from duetime.app.tables import User
from duetime.app.use_cases import Application
from duetime.clock import system_clock
from duetime.harness.processes.environment import composed_for_design
from duetime.runtime.failpoints import VARIABLE, Failpoint
from tests.designs.blocked_gateway import skip_unless_installed
from tests.designs.violations.world import KILLED, MakeWorld, World

pytestmark = pytest.mark.processes
WITH_CELERY = """
import celery
"""
MIGRATE = """
import sys
from duetime.cli.main import cli
from duetime.runtime.failpoints import Failpoints

Failpoints().watch()
cli(["migrate", *sys.argv[1:]])
"""
FAR_S = 3600.0
KEYS = ("a", "b", "c", "d", "e")


def migrate(world: World, *arguments: str) -> int:
    """Run ``duetime migrate`` in a process; return its exit status."""
    environment = {**composed_for_design(), **world.settings.environment(), VARIABLE: str(world.failpoint)}
    command = [sys.executable, "-c", WITH_CELERY + MIGRATE, *arguments]
    if contender := world.design.contender:
        environment["PYTHONPATH"] = contender.python_path
        command = [contender.python, "-c", MIGRATE, *arguments]
    return subprocess.run(command, env=environment, start_new_session=True, check=False).returncode


def rows(world: World) -> Counter[str]:
    return _pending(world, "row in")


def messages(world: World) -> Counter[str]:
    return _pending(world, "message")


def _pending(world: World, where: str = "") -> Counter[str]:
    """Count the pending entries of each revision whose place starts with `where`."""
    pending = world.design.pending(world.settings, world.engine)
    return Counter(entry.op for entry in pending if entry.where.startswith(where))


def test_from_the_read_model_published_rows_are_published_again_and_none_is_lost(make_world: MakeWorld) -> None:
    world = make_world("push_readmodel-to-oban_style_queue")
    world.schedule(*KEYS, in_s=FAR_S)

    world.arm(Failpoint(point="before_publish", action="kill", nth=3))
    assert migrate(world, "push_readmodel", "oban_style_queue") == KILLED
    assert (rows(world).total(), messages(world).total()) == (5, 2)

    world.disarm()
    assert migrate(world, "push_readmodel", "oban_style_queue") == 0
    assert rows(world) == Counter()
    assert sorted(messages(world).values()) == [1, 1, 1, 2, 2]


def test_from_the_queue_nothing_is_lost_or_duplicated(make_world: MakeWorld) -> None:
    world = make_world("oban_style_queue-to-push_readmodel")
    world.schedule(*KEYS, in_s=FAR_S)

    world.arm(Failpoint(point="after_commit", action="kill", nth=3))
    assert migrate(world, "oban_style_queue", "push_readmodel") == KILLED
    assert (messages(world).total(), rows(world).total()) == (5, 3)

    world.disarm()
    assert migrate(world, "oban_style_queue", "push_readmodel") == 0
    assert messages(world) == Counter()
    assert rows(world) == Counter(f"{key}/1" for key in KEYS)


@pytest.mark.parametrize(("new", "times"), [("push_readmodel", [1, 1, 1, 1, 1]), ("oban_style_queue", [1, 1, 1, 1, 2])])
def test_from_the_poller_with_the_same_since_nothing_is_lost(make_world: MakeWorld, new: str, times: list[int]) -> None:
    world = make_world(f"pull_worker-to-{new}")
    ended = system_clock() + world.settings.reminder_lead
    with Session(world.engine) as session:
        session.add_all(User(id=number, name="", address=f"{number}@example.org") for number in range(5))
        session.commit()
        application = Application(world.design.scheduler(world.settings), reminder_lead=world.settings.reminder_lead)
        starts_at = ended + timedelta(seconds=FAR_S)
        application.create_event(session, event_id=1, title="", starts_at=starts_at, user_ids=range(5))

    # Each published notification takes two commits; the fourth would have recorded the second notification.
    world.arm(Failpoint(point="before_commit", action="kill", nth=4))
    assert migrate(world, "pull_worker", new, "--since", ended.isoformat()) == KILLED
    assert 0 < _pending(world).total() < 5

    world.disarm()
    assert migrate(world, "pull_worker", new, "--since", ended.isoformat()) == 0
    assert set(_pending(world)) == {f"event-reminder:1:{number}/1" for number in range(5)}
    assert sorted(_pending(world).values()) == times


@pytest.mark.full
@pytest.mark.parametrize("library", ["oban", "graphile_worker"])
@pytest.mark.parametrize("back", [False, True])
def test_to_a_library_and_back_nothing_is_lost_or_duplicated(make_world: MakeWorld, library: str, back: bool) -> None:
    skip_unless_installed(library)
    old, new = ("push_readmodel", f"contender:{library}")[:: -1 if back else 1]
    world = make_world(f"{old}-to-{new}")
    assert world.schedule_from_client(*KEYS, in_s=FAR_S) == 0

    # Between the commit to the new design and the removal from the old one.
    world.arm(Failpoint(point="after_commit", action="kill", nth=1))
    assert migrate(world, old, new) == KILLED
    assert _pending(world) == Counter({f"{key}/1": 2 for key in KEYS})

    world.disarm()
    assert migrate(world, old, new) == 0
    assert _pending(world) == Counter(f"{key}/1" for key in KEYS)
    assert {entry.op for entry in registry.load(new).pending(world.settings, world.engine)} == set(_pending(world))
