"""The bare loops that the benchmarks compare with read the rows that the designs' own statements return."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime import registry
from duetime.clock import system_clock
from duetime.harness.processes.environment import composed_for_design
from duetime.interface import Notification
from duetime.settings import Settings
from push_readmodel.scheduler import ReadModelScheduler
from tests.eventually import assert_eventually

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mode", [["pipeline"], ["two"], ["timer"], ["pipeline", "--to", "file"]])
def test_a_bare_loop_delivers_what_is_due(mode: Sequence[str], settings: Settings, engine: Engine) -> None:
    registry.load("push_readmodel").install(engine)
    keys = ["one", "two"]
    with Session(engine) as session:
        due_at = system_clock()
        notes = [Notification(key=key, revision=1, kind="test", recipient="a", due_at=due_at) for key in keys]
        ReadModelScheduler().schedule_many(notes, session=session)
        session.commit()

    command = [sys.executable, "-m", "benchmarks.bare", *mode]
    with subprocess.Popen(command, env={**composed_for_design(), **settings.environment()}, cwd=ROOT) as loop:
        try:
            assert_eventually(lambda: delivered(settings.deliveries) == ["one/1", "two/1"])
        finally:
            loop.kill()


def delivered(deliveries: Path) -> list[str]:
    return sorted(json.loads(line)["op"] for line in deliveries.read_text().splitlines()) if deliveries.exists() else []
