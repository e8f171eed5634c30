"""Every command whose output nobody reads any more ends quietly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from duetime.cli.main import WITH_VERDICT, cli

RUN = Path(__file__).parent.parent / "data" / "format-1" / "oban_style_queue-downtime"
EACH_INTO_A_CLOSED_PIPE = """
import json, os, sys
from duetime.cli.main import main
statuses = {}
for argv in json.loads(sys.argv[1]):
    child = os.fork()  # because an import of the harness takes a second
    if not child:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
        sys.argv = ["duetime", *argv]
        main()
        sys.exit(0)
    statuses[" ".join(argv)] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(statuses))
"""


def test_every_command_that_prints_ends_quietly_when_its_reader_has_gone(tmp_path: Path) -> None:
    run = shutil.copytree(RUN, tmp_path / "run")
    commands = [
        ["--version"],
        *([name, "--help"] for name in cli.commands),
        ["scenarios"],
        ["scenarios", "--json"],
        ["designs"],
        ["lint", "oban_style_queue"],
        ["check", str(run)],
        ["check", str(run), "--labels"],
        ["report", str(run)],
        ["health", "push_readmodel", "--state", str(tmp_path)],
    ]

    done = subprocess.run(
        [sys.executable, "-c", EACH_INTO_A_CLOSED_PIPE, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,  # to which the report is written
    )

    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr, done.stderr
    statuses = json.loads(done.stdout)
    assert len(statuses) == len(commands)
    for command, status in statuses.items():
        verdict = "--help" not in command and command.split()[0] in WITH_VERDICT
        assert status == (141 if verdict else 0), command


def test_the_table_of_a_comparison_reports_that_its_reader_has_gone() -> None:
    program = "from duetime.report.table import console\ntry: console().print('x')\nexcept BrokenPipeError: exit(7)"
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([sys.executable, "-u", "-c", program], stdout=writing, check=False)
    finally:
        os.close(writing)

    # rich itself would end the process with 1, which means "fail".
    assert done.returncode == 7


@pytest.mark.runs
@pytest.mark.parametrize("errors_too", [False, True])
def test_a_run_whose_reader_ended_is_carried_out_and_stored(tmp_path: Path, errors_too: bool) -> None:
    """Like ``duetime compare … | head``, and ``2>&1 | head``."""
    arguments = ("compare", "--designs", "push_readmodel", "--scenarios", "calm", "--out", str(tmp_path))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "duetime.cli", *arguments],
            stdout=writing,
            stderr=writing if errors_too else None,
            check=False,
            timeout=100,
        )
    finally:
        os.close(writing)

    assert done.returncode == 141
    assert len(list(tmp_path.rglob("closed.json"))) == 1
