"""A standby takes over from a killed client at once, however long its design takes to import."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from duetime import reference
from duetime.app.tables import User
from duetime.clock import instant
from duetime.faults.application import ClientKill
from duetime.harness.plan.plan import PlannedOperation
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.client_process import SUCCESSOR, ClientProcess
from duetime.settings import Settings
from tests.commands import json_lines

pytestmark = pytest.mark.processes

IMPORT_S = 3.0
SLOW_DESIGN = f"""
import time
from beside_it import design
time.sleep({IMPORT_S})
"""


def test_a_standby_continues_at_once_and_acknowledges_what_was_committed(
    engine: Engine, settings: Settings, tempdir: Path, tmp_path: Path
) -> None:
    design = tmp_path / "slow_to_import.py"
    design.write_text(SLOW_DESIGN)
    (tmp_path / "beside_it.py").write_text("from duetime.reference import design\n")
    reference.design.install(engine)
    with engine.begin() as connection:
        connection.execute(insert(User), [{"id": 1, "name": "a", "address": "a@example.org", "locale": "en"}])
    operations = [
        PlannedOperation(at_s=at_s, client=0, do="create_event", event=event, users=(1,), due_s=60.0)
        for event, at_s in ((1, 0.3), (2, 5.0))
    ]
    history, stop = tmp_path / "history.jsonl", CancelToken()
    history.touch()
    client = ClientProcess(
        0,
        operations,
        settings=replace(settings, design=f"{design}:design"),
        history=history,
        faults=tmp_path / "faults.jsonl",
        old_heartbeats=[],
        directory=tmp_path / "client",
        log=tmp_path / "client.log",
        tempdir=tempdir,
        standby=True,
    )
    try:
        client.wait_ready(stop)
        kill = ClientKill(client, within_s=10)
        kill.prepare(stop)
        kill.inject()
        started = instant()
        client.begin(started)
        kill.verify_injected(stop)
        healing = time.monotonic()
        kill.heal()
        kill.verify_healed(stop)
        took_s = time.monotonic() - healing
        client.wait_done(started, stop)
    finally:
        client.stop()

    assert took_s < IMPORT_S
    records = json_lines(history)
    answers = [(record["client"], record["type"], record["op"].rsplit(":", 2)[1]) for record in records]
    # The successor finds the first event in the tables, and carries out what was not due yet.
    assert answers == [(0, "invoke", "1"), (SUCCESSOR, "ok", "1"), (SUCCESSOR, "invoke", "2"), (SUCCESSOR, "ok", "2")]
