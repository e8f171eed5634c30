"""The run directory while it is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from duetime import registry
from duetime.harness.plan.lookup import named
from duetime.harness.runs.run_directory import OutstandingOperations, RunDirectory
from duetime.history import load
from duetime.runtime.jsonl import JsonLinesWriter


@pytest.fixture
def files(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run", registry.load("reference"), {}, loaded_as="reference")
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


def test_what_was_acknowledged_is_owed_until_it_is_delivered(files: RunDirectory) -> None:
    history, owed = files.path / "history.jsonl", OutstandingOperations(files)
    assert not owed.anything()

    write(history, *answered("a/1", "b/1"), *answered("c/1", kind="info"))
    assert owed.anything()

    write(files.deliveries, *delivered("a/1", "b/1"), *delivered("canary/1", worker="canary"))
    assert not owed.anything()


def test_what_was_delivered_before_it_was_acknowledged_or_twice_is_owed_no_more(files: RunDirectory) -> None:
    owed = OutstandingOperations(files)
    write(files.deliveries, *delivered("a/1"))
    assert not owed.anything()

    write(files.path / "history.jsonl", *answered("a/1"))
    write(files.deliveries, *delivered("a/1"))

    assert not owed.anything()


def test_canaries_do_not_break_the_quiet(files: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duetime.harness.runs.run_directory.time.monotonic_ns", lambda: 5_000_000_000)
    write(files.deliveries, *delivered("a/1", at_ns=2_000_000_000), *delivered("canary/1", worker="canary"))

    assert files.seconds_since_last_delivery() == 3.0


def test_a_plan_is_written_an_operation_a_line_and_closed_with_what_vouches_for_it(files: RunDirectory) -> None:
    plan = named("burst").plan(1)
    files.write_plan(plan)
    files.close([], quiet_s=1.0, workers_alive=True, restarts=[], unverified=[])

    lines = (files.path / "plan.json").read_text().splitlines()
    assert sum('"create_event"' in line for line in lines) == len(plan.operations)
    assert json.loads((files.path / "closed.json").read_bytes())["lines"]["plan.json"] == len(lines)
    assert not load(files.path).problems
