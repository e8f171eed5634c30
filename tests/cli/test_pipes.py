"""A command whose reader ends early ends without an error message."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.test_stored_format_1 import STORED

pytestmark = pytest.mark.processes


def into_closed_pipe(*arguments: str) -> tuple[int, str]:
    """Run a command whose standard output nobody reads. Returns its exit status and its standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "duetime.cli", *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["scenarios"],
        ["designs"],
        ["--help"],
        ["run", "--help"],
        ["--version"],
        ["scenarios", "--json"],
    ],
    ids=" ".join,
)
def test_a_listing_ends_with_status_0(arguments: list[str]) -> None:
    assert into_closed_pipe(*arguments) == (0, "")


@pytest.mark.parametrize("options", [[], ["--labels"]], ids=str)
def test_a_verdict_that_was_not_read_is_no_pass(tmp_path: Path, options: list[str]) -> None:
    run = shutil.copytree(STORED, tmp_path / "run")  # a check writes into the directory

    assert into_closed_pipe("check", *options, str(run)) == (141, "")
