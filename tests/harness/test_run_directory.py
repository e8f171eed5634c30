"""The run directory while it is written."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from duetime import registry
from duetime.errors import HarnessError
from duetime.harness.plan.lookup import named
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.services import Services
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.participants import RunProcesses
from duetime.harness.runs.run_directory import OutstandingOperations, RunDirectory, Stored
from duetime.harness.runs.spec import RunSpec
from duetime.history import load
from duetime.interface import Pending
from duetime.runtime.jsonl import JsonLinesWriter


@pytest.fixture
def files(tmp_path: Path) -> RunDirectory:
    spec = RunSpec(
        design=registry.load("reference"),
        design_name="reference",
        plan=named("burst").plan(1),
        directory=tmp_path / "run",
        slot=0,
        context=RunContext(tmp_path, Services(tmp_path, environment={}), {}, CancelToken()),
    )
    directory = RunDirectory(spec)
    directory.make()
    return directory


def write(path: Path, *records: dict[str, object]) -> None:
    journal = JsonLinesWriter(path)
    journal.append_all(records)
    journal.close()


def answered(*ops: str, kind: str = "ok") -> list[dict[str, object]]:
    return [{"op": op, "type": kind} for op in ops]


def delivered(*ops: str, worker: str = "worker-1", at_ns: int = 0) -> list[dict[str, object]]:
    return [{"op": op, "worker": worker, "at_ns": at_ns} for op in ops]


def test_an_acknowledged_revision_is_outstanding_until_it_is_delivered(files: RunDirectory) -> None:
    outstanding = OutstandingOperations(files)
    assert not outstanding.remain()

    write(files.history, *answered("a/1", "b/1"), *answered("c/1", kind="info"))
    assert outstanding.remain()

    write(files.deliveries, *delivered("a/1", "b/1"), *delivered("canary/1", worker="canary"))
    assert not outstanding.remain()


def test_a_revision_delivered_before_its_acknowledgement_or_again_is_not_outstanding(files: RunDirectory) -> None:
    outstanding = OutstandingOperations(files)
    write(files.deliveries, *delivered("a/1"))
    assert not outstanding.remain()

    write(files.history, *answered("a/1"))
    write(files.deliveries, *delivered("a/1"))

    assert not outstanding.remain()


def test_canaries_are_not_counted_as_deliveries(files: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duetime.harness.runs.run_directory.time.monotonic_ns", lambda: 5_000_000_000)
    write(files.deliveries, *delivered("a/1", at_ns=2_000_000_000), *delivered("canary/1", worker="canary"))

    assert files.seconds_since_last_delivery() == 3.0


def test_a_plan_has_one_operation_per_line_and_a_closed_run_has_no_problems(files: RunDirectory) -> None:
    files.write_plan()
    files.close(Stored([]), quiet_s=1.0, workers_alive=True, restarts=[], unverified=[])

    lines = (files.path / "plan.json").read_text().splitlines()
    assert sum('"create_event"' in line for line in lines) == len(files.spec.plan.operations)
    assert json.loads((files.path / "closed.json").read_bytes())["lines"]["plan.json"] == len(lines)
    assert not load(files.path).problems


def test_a_store_that_cannot_be_listed_is_recorded_with_the_reason(files: RunDirectory) -> None:
    files.write_plan()
    files.close(Stored(None, "a queue shows no messages"), quiet_s=1.0, workers_alive=True, restarts=[], unverified=[])

    closed = json.loads((files.path / "closed.json").read_bytes())
    assert (closed["pending"], closed["unlisted"]) == (None, "a queue shows no messages")


def test_only_what_is_not_given_up_awaits_a_delivery() -> None:
    failed, held = Pending("a/1", "dead", "failed"), Pending("b/1", "row", "held")

    assert Stored([failed, held]).awaits_delivery
    assert not Stored([failed]).awaits_delivery
    assert not Stored(None, "a queue shows no messages").awaits_delivery


def test_an_error_of_pending_names_the_design_and_the_line() -> None:
    def pending(*_: object) -> list[Pending]:
        raise TypeError("zrange() needs a key")

    run = SimpleNamespace(
        _spec=SimpleNamespace(design=SimpleNamespace(name="mine", pending=pending)), _direct=0, _shards=[0]
    )

    with pytest.raises(HarnessError, match=r"pending\(\) of mine failed: TypeError: zrange.*test_run_directory.py:\d+"):
        RunProcesses.pending(cast(Any, run))
