"""Failpoints strike where and when they were armed to, and a process that was told of none has none."""

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


def passing(file: Path) -> Failpoints:
    return Failpoints({VARIABLE: str(file)})


def test_it_strikes_at_the_nth_time_and_then_no_more(file: Path) -> None:
    Failpoint(point="before_deliver", action="raise", nth=2).arm(file)
    failpoints = passing(file)

    failpoints.hit("before_deliver")
    failpoints.hit("after_deliver")
    with pytest.raises(FailpointError):
        failpoints.hit("before_deliver")
    failpoints.hit("before_deliver")

    assert [hit["point"] for hit in hits(file)] == ["before_deliver"]


def test_it_can_be_armed_and_disarmed_while_the_process_runs(file: Path) -> None:
    failpoints = passing(file)
    failpoints.hit("after_commit")

    Failpoint(point="after_commit", action="raise").arm(file)
    with pytest.raises(FailpointError):
        failpoints.hit("after_commit")
    disarm(file)
    failpoints.hit("after_commit")

    assert len(hits(file)) == 1


def test_a_process_that_was_told_of_no_file_comes_by_for_nothing(file: Path) -> None:
    Failpoint(point="after_commit", action="raise").arm(file)

    Failpoints({}).hit("after_commit")

    assert hits(file) == []


def test_a_kill_leaves_a_line_behind_and_nothing_of_the_process(file: Path) -> None:
    Failpoint(point="after_commit", action="kill").arm(file)
    program = "from duetime.runtime.failpoints import Failpoints; Failpoints().hit('after_commit'); print('alive')"

    done = subprocess.run(
        [sys.executable, "-c", program], env={VARIABLE: str(file)}, capture_output=True, start_new_session=True
    )

    assert (done.returncode, done.stdout) == (-9, b"")
    assert [hit["action"] for hit in hits(file)] == ["kill"]


@pytest.mark.parametrize(
    "wrong", [{"point": "after_lunch", "action": "kill"}, {"point": "after_commit", "action": "x"}]
)
def test_an_unknown_point_or_action_is_answered_with_those_there_are(wrong: dict[str, str]) -> None:
    with pytest.raises(BadUsage, match="is none of"):
        Failpoint(**wrong)
