"""A migration killed in the middle and run again: nothing is lost, and it is known what comes twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from duetime.app.tables import User
from duetime.app.use_cases import Application
from duetime.clock import system_clock
from duetime.runtime.failpoints import VARIABLE, Failpoint
from tests.designs.violations.world import KILLED, World

pytestmark = pytest.mark.processes

Make = Callable[..., World]

MIGRATE = """
import sys
import celery
from duetime.cli.main import cli
from duetime.runtime.failpoints import Failpoints

Failpoints().watch()
cli(["migrate", *sys.argv[1:]])
"""
FAR_S = 3600.0
KEYS = ("a", "b", "c", "d", "e")


def migrate(world: World, *arguments: str) -> int:
    """``duetime migrate``, in a process of its own; its exit status."""
    environment = {**os.environ, **world.settings.environment(), VARIABLE: str(world.failpoint)}
    command = [sys.executable, "-c", MIGRATE, *arguments]
    return subprocess.run(command, env=environment, start_new_session=True, check=False).returncode


def rows(world: World) -> Counter[str]:
    return _pending(world, "row in")


def messages(world: World) -> Counter[str]:
    return _pending(world, "message")


def _pending(world: World, where: str = "") -> Counter[str]:
    """How often each revision waits in a store of this kind."""
    left = world.design.pending(world.settings, world.engine)
    return Counter(one.op for one in left if one.where.startswith(where))


def test_from_the_read_model_what_had_been_published_is_published_again_and_nothing_is_lost(world: Make) -> None:
    there = world("push_readmodel-to-oban_style_queue")
    there.schedule(*KEYS, in_s=FAR_S)

    there.arm(Failpoint(point="before_publish", action="kill", nth=3))
    assert migrate(there, "push_readmodel", "oban_style_queue") == KILLED
    assert (rows(there).total(), messages(there).total()) == (5, 2)

    there.disarm()
    assert migrate(there, "push_readmodel", "oban_style_queue") == 0
    assert rows(there) == Counter()
    assert sorted(messages(there).values()) == [1, 1, 1, 2, 2]


def test_from_the_queue_nothing_is_lost_and_nothing_moves_twice(world: Make) -> None:
    there = world("oban_style_queue-to-push_readmodel")
    there.schedule(*KEYS, in_s=FAR_S)

    there.arm(Failpoint(point="after_commit", action="kill", nth=3))
    assert migrate(there, "oban_style_queue", "push_readmodel") == KILLED
    assert (messages(there).total(), rows(there).total()) == (5, 3)

    there.disarm()
    assert migrate(there, "oban_style_queue", "push_readmodel") == 0
    assert messages(there) == Counter()
    assert rows(there) == Counter(f"{key}/1" for key in KEYS)


@pytest.mark.parametrize(("new", "times"), [("push_readmodel", [1, 1, 1, 1, 1]), ("oban_style_queue", [1, 1, 1, 1, 2])])
def test_from_the_poller_with_the_same_since_nothing_is_lost(world: Make, new: str, times: list[int]) -> None:
    there = world(f"pull_worker-to-{new}")
    ended = system_clock() + there.settings.reminder_lead
    with Session(there.engine) as session:
        session.add_all(User(id=number, name="", address=f"{number}@example.org") for number in range(5))
        session.commit()
        application = Application(there.design.scheduler(there.settings), reminder_lead=there.settings.reminder_lead)
        starts_at = ended + timedelta(seconds=FAR_S)
        application.create_event(session, event_id=1, title="", starts_at=starts_at, user_ids=range(5))

    # Of two commits for each notification that is published, the fourth is the one that would have noted the second.
    there.arm(Failpoint(point="before_commit", action="kill", nth=4))
    assert migrate(there, "pull_worker", new, "--since", ended.isoformat()) == KILLED
    assert 0 < _pending(there).total() < 5

    there.disarm()
    assert migrate(there, "pull_worker", new, "--since", ended.isoformat()) == 0
    assert set(_pending(there)) == {f"event-reminder:1:{number}/1" for number in range(5)}
    assert sorted(_pending(there).values()) == times
