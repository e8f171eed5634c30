"""The records of a client's calls, and the files that it reads before a migration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from duetime.clock import Instant
from duetime.harness.processes.client_main import reached, worker_was_removed
from duetime.harness.processes.recorder import Recorder
from duetime.interface import Notification, Scheduler
from duetime.runtime.heartbeat import Heartbeat
from duetime.runtime.jsonl import JsonLinesWriter

DUE = datetime(2030, 1, 1, tzinfo=UTC)
NOTIFICATIONS = [
    Notification(key=key, revision=1, kind="k", recipient="r", due_at=DUE + timedelta(seconds=later))
    for later, key in enumerate("abc")
]


class ReadingScheduler(Scheduler):
    """Reads the history when it is called."""

    def __init__(self, history: Path) -> None:
        self._history = history
        self.records: list[dict[str, Any]] = []

    def schedule(self, notification: Notification, *, session: Session) -> None:
        raise AssertionError("schedule_many() of the recorder must call schedule_many() of the scheduler")

    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        self.records = read(self._history)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        raise NotImplementedError


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def test_every_call_is_recorded_before_it_is_made_and_answered_after_it(history: Path) -> None:
    scheduler = ReadingScheduler(history)
    recorder = Recorder(scheduler, JsonLinesWriter(history), client=4)
    recorder.started = Instant(wall_ns=int(DUE.timestamp()) * 1_000_000_000, mono_ns=7)

    with Session() as session:
        recorder.schedule_many(NOTIFICATIONS, session=session)
    recorder.close("ok")

    assert [(record["op"], record["type"]) for record in scheduler.records] == [(f"{key}/1", "invoke") for key in "abc"]
    assert [record["due_ns"] for record in scheduler.records] == [7, 1_000_000_007, 2_000_000_007]
    records = read(history)
    assert [(record["op"], record["type"]) for record in records[3:]] == [(f"{key}/1", "ok") for key in "abc"]
    assert [(record["i"], record["client"]) for record in records] == [(i, 4) for i in range(6)]
    assert records[2]["at_ns"] <= records[3]["at_ns"]


def test_an_error_answers_every_open_call_once(history: Path) -> None:
    recorder = Recorder(ReadingScheduler(history), JsonLinesWriter(history), client=0)
    with Session() as session:
        recorder.schedule_many(NOTIFICATIONS, session=session)

    recorder.close("info", ValueError("gone"))
    recorder.close("ok")

    assert [(record["type"], record["error"]) for record in read(history)[3:]] == [("info", "ValueError: gone")] * 3


def test_the_latest_time_polled_is_read_from_the_heartbeats(tmp_path: Path) -> None:
    files = [tmp_path / f"old-worker-{number}.heartbeat" for number in (1, 2, 3)]
    for file, second in zip(files[:2], (3, 1), strict=True):
        at = DUE + timedelta(seconds=second)
        Heartbeat(file).beat("polled", again_within_s=1, reached=at.isoformat())

    assert reached(files) == DUE + timedelta(seconds=3)


def test_a_worker_that_does_not_poll_has_no_time_polled(tmp_path: Path) -> None:
    file = tmp_path / "old-worker-1.heartbeat"
    Heartbeat(file).beat("waited", again_within_s=1)

    assert reached([file]) is None


def test_a_worker_is_removed_once_that_was_verified_and_not_when_it_is_asked_to_end(tmp_path: Path) -> None:
    faults = tmp_path / "faults.jsonl"
    before = worker_was_removed(faults)
    journal = JsonLinesWriter(faults)
    journal.append({"fault": "f1", "kind": "worker_removed", "phase": "inject"})
    injected = worker_was_removed(faults)
    journal.append({"fault": "f1", "kind": "worker_removed", "phase": "observed"})

    assert (before, injected, worker_was_removed(faults)) == (False, False, True)
