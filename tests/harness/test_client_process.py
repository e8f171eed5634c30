"""The handle of a client process."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from duetime.contenders import Contender
from duetime.harness.processes.cleanup import members
from duetime.harness.processes.client_process import ClientProcess
from duetime.settings import Settings
from tests.eventually import assert_eventually

SHELL = """#!/bin/sh
sleep 600 &
echo $! >{pid}
exec {python} "$@"
"""


def test_what_a_client_started_ends_before_its_successor_begins(
    tmp_path: Path, tempdir: Path, settings: Settings
) -> None:
    (shell := tmp_path / "python").write_text(SHELL.format(pid=tmp_path / "pid", python=sys.executable))
    shell.chmod(0o755)
    client = ClientProcess(
        0,
        [],
        settings=settings,
        history=tmp_path / "history.jsonl",
        faults=tmp_path / "faults.jsonl",
        old_heartbeats=[],
        directory=tmp_path / "client",
        log=tmp_path / "client.log",
        tempdir=tempdir,
        contender=Contender(tmp_path, str(shell)),
    )
    assert_eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
    started = psutil.Process(int((tmp_path / "pid").read_text()))
    assert started in members(tempdir), "the clean-up after a run would not find it"

    client.stop()

    assert_eventually(lambda: not started.is_running() or started.status() == psutil.STATUS_ZOMBIE, within_s=5)
