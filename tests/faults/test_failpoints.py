"""Failpoints are triggered where and when they were armed; a process without a file has none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from duetime.errors import BadUsage
from duetime.runtime.failpoints import VARIABLE, Failpoint, FailpointError, Failpoints, disarm, hits


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "failpoint"


def failpoints_of(file: Path) -> Failpoints:
    return Failpoints({VARIABLE: str(file)})


def test_a_failpoint_is_triggered_once_at_the_nth_hit(file: Path) -> None:
    Failpoint(point="before_deliver", action="raise", nth=2).arm(file)
    failpoints = failpoints_of(file)

    failpoints.hit("before_deliver")
    failpoints.hit("after_deliver")
    with pytest.raises(FailpointError):
        failpoints.hit("before_deliver")
    failpoints.hit("before_deliver")

    assert [hit["point"] for hit in hits(file)] == ["before_deliver"]


def test_a_failpoint_can_be_armed_and_disarmed_while_the_process_runs(file: Path) -> None:
    failpoints = failpoints_of(file)
    failpoints.hit("after_commit")

    Failpoint(point="after_commit", action="raise").arm(file)
    with pytest.raises(FailpointError):
        failpoints.hit("after_commit")
    disarm(file)
    failpoints.hit("after_commit")

    assert len(hits(file)) == 1


def test_a_process_without_a_failpoint_file_triggers_nothing(file: Path) -> None:
    Failpoint(point="after_commit", action="raise").arm(file)

    Failpoints({}).hit("after_commit")

    assert hits(file) == []


def test_a_kill_is_recorded_before_the_process_ends(file: Path) -> None:
    Failpoint(point="after_commit", action="kill").arm(file)
    program = "from duetime.runtime.failpoints import Failpoints; Failpoints().hit('after_commit'); print('alive')"

    done = subprocess.run(
        [sys.executable, "-c", program], env={VARIABLE: str(file)}, capture_output=True, start_new_session=True
    )

    assert (done.returncode, done.stdout) == (-9, b"")
    assert [hit["action"] for hit in hits(file)] == ["kill"]


@pytest.mark.parametrize(("point", "action"), [("after_lunch", "kill"), ("after_commit", "x")])
def test_an_unknown_point_or_action_is_rejected_with_the_known_ones(point: str, action: str) -> None:
    with pytest.raises(BadUsage, match="is none of"):
        Failpoint(point=point, action=action)  # type: ignore[arg-type]  # the test is about wrong values
