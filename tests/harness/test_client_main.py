"""What a client writes down of its calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from duetime.clock import Instant
from duetime.harness.processes.client_main import Recorder, last_window_end, seen_to_leave
from duetime.interface import Notification, Scheduler
from duetime.runtime.jsonl import JsonLinesWriter

DUE = datetime(2030, 1, 1, tzinfo=UTC)
NOTIFICATIONS = [
    Notification(key=key, revision=1, kind="k", recipient="r", due_at=DUE + timedelta(seconds=later))
    for later, key in enumerate("abc")
]


class Looking(Scheduler):
    """Sees what stands in the history when it is called."""

    def __init__(self, history: Path) -> None:
        self._history = history
        self.seen: list[dict[str, Any]] = []

    def schedule(self, notification: Notification, *, session: Session) -> None:
        raise AssertionError("many were handed over, and came one by one")

    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        self.seen = lines(self._history)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def test_every_call_is_on_record_before_it_is_made_and_answered_after_it(history: Path) -> None:
    looking = Looking(history)
    recorder = Recorder(looking, JsonLinesWriter(history), client=4)
    recorder.started = Instant(wall_ns=int(DUE.timestamp()) * 1_000_000_000, mono_ns=7)

    with Session() as session:
        recorder.schedule_many(NOTIFICATIONS, session=session)
    recorder.close("ok")

    assert [(line["op"], line["type"]) for line in looking.seen] == [(f"{key}/1", "invoke") for key in "abc"]
    assert [line["due_ns"] for line in looking.seen] == [7, 1_000_000_007, 2_000_000_007]
    told = lines(history)
    assert [(line["op"], line["type"]) for line in told[3:]] == [(f"{key}/1", "ok") for key in "abc"]
    assert [(line["i"], line["client"]) for line in told] == [(i, 4) for i in range(6)]
    assert told[2]["at_ns"] <= told[3]["at_ns"]


def test_an_error_answers_for_every_open_call_and_for_none_twice(history: Path) -> None:
    recorder = Recorder(Looking(history), JsonLinesWriter(history), client=0)
    with Session() as session:
        recorder.schedule_many(NOTIFICATIONS, session=session)

    recorder.close("info", ValueError("gone"))
    recorder.close("ok")

    assert [(line["type"], line["error"]) for line in lines(history)[3:]] == [("info", "ValueError: gone")] * 3


def test_where_a_poller_had_got_to_stands_in_its_log_alone(tmp_path: Path) -> None:
    line = "[2026-01-01 00:00:00,000: INFO/ForkPoolWorker-1] poll window={}/{} delivered=1\n"
    ends = [DUE + timedelta(seconds=number) for number in (1, 3, 2)]
    log = "".join(line.format((end - timedelta(seconds=1)).isoformat(), end.isoformat()) for end in ends)
    (tmp_path / "old-worker-1.log").write_text(log)
    (tmp_path / "new-worker-1.log").write_text(line.format(DUE.isoformat(), (DUE + timedelta(days=1)).isoformat()))

    assert last_window_end(tmp_path) == DUE + timedelta(seconds=3)


def test_who_kept_no_log_of_polls_had_got_nowhere(tmp_path: Path) -> None:
    (tmp_path / "old-worker-1.log").write_text("worker-1 ready.\n")

    assert last_window_end(tmp_path) is None


def test_a_server_has_left_when_that_was_seen_and_not_when_it_was_asked_to(tmp_path: Path) -> None:
    faults = tmp_path / "faults.jsonl"
    before = seen_to_leave(faults)
    journal = JsonLinesWriter(faults)
    journal.append({"fault": "f1", "kind": "worker_removed", "phase": "inject"})
    asked = seen_to_leave(faults)
    journal.append({"fault": "f1", "kind": "worker_removed", "phase": "observed"})

    assert (before, asked, seen_to_leave(faults)) == (False, False, True)
