"""Every command whose output nobody reads any more ends quietly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from duetime.cli.main import cli, only_lists
from tests.short_plan import written_to

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
    listed = [
        ["--version"],
        *([name, "--help"] for name in cli.commands),
        ["scenarios"],
        ["scenarios", "--json"],
        ["designs"],
        ["contenders"],
        ["report", str(run)],
    ]
    listings = {" ".join(command) for command in listed}
    commands = [
        *listed,
        ["lint", "oban_style_queue"],
        ["check", str(run)],
        ["check", str(run), "--labels"],
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
        assert status == (0 if command in listings else 141), command


@pytest.mark.parametrize(
    ("command", "lists"),
    [
        ("failed list push_readmodel", True),
        ("failed retry push_readmodel --all", False),
        ("contenders", True),
        ("contenders install --all", False),
        ("install push_readmodel", False),
        ("compare", False),
        ("compare --help", True),
    ],
)
def test_only_a_command_that_changes_nothing_ends_with_0(command: str, lists: bool) -> None:
    assert only_lists(command.split()) is lists


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
    plan, out = written_to(tmp_path / "plan.json"), tmp_path / "runs"
    arguments = ("compare", "--designs", "push_readmodel", "--scenarios", str(plan), "--out", str(out))
    # With it, nothing is left to flush at the end.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "duetime.cli", *arguments],
            stdout=writing,
            stderr=writing if errors_too else None,
            env=environment,
            check=False,
            timeout=100,
        )
    finally:
        os.close(writing)

    assert done.returncode == 141
    assert len(list(out.rglob("closed.json"))) == 1
