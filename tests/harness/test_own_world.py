"""A run uses its own servers only, whatever the shell and the working directory say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.demo.running_demo import running
from tests.eventually import assert_eventually
from tests.harness.foreign_servers import ForeignServers, foreign_servers
from tests.short_plan import written_to

pytestmark = pytest.mark.runs

DUETIME = Path(sys.executable).with_name("duetime")
THREE = ("pull_worker", "push_readmodel", "oban_style_queue")

DESIGN = """
import os
from dataclasses import replace

from helper import NAME
from duetime.reference import design

assert os.environ["TOKEN_OF_MINE"] == "secret"
assert "NOT_MINE" not in os.environ
design = replace(design, name=NAME)
"""


@pytest.fixture(scope="module")
def foreign(tempdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignServers]:
    with foreign_servers(tmp_path_factory.mktemp("elsewhere"), tempdir=tempdir) as servers:
        yield servers


@pytest.fixture
def short_plan(tmp_path: Path) -> Path:
    return written_to(tmp_path / "plan.json")


def run(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # The installed command, because `python -m` imports from the working directory.
    return subprocess.run(
        [DUETIME, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def tasks(flower: str) -> set[str]:
    """Return the names of the tasks that Flower shows."""
    with closing(HTTPConnection(flower.split("/")[2], timeout=10)) as connection:
        connection.request("GET", "/api/tasks")
        return {str(task["name"]) for task in json.loads(connection.getresponse().read()).values()}


def test_no_process_of_a_run_reaches_the_servers_and_modules_that_the_shell_names(
    foreign: ForeignServers, short_plan: Path, tmp_path: Path
) -> None:
    done = run(
        "compare", "--scenarios", short_plan, "--json", "--out", tmp_path, cwd=foreign.directory, **foreign.shell
    )

    assert foreign.seen() == []
    assert done.stdout, done.stderr
    outcomes = {cell["design"]: cell["outcome"] for cell in json.loads(done.stdout)["cells"]}
    assert outcomes == dict.fromkeys(THREE, "pass")


def test_neither_do_the_demo_and_its_flower(foreign: ForeignServers, tmp_path: Path) -> None:
    one = ("--designs", "oban_style_queue", "--rate", "2")
    with running(tmp_path, *one, cwd=foreign.directory, environment={**os.environ, **foreign.shell}) as demo:
        # Sent by a client, executed by a worker, and shown by Flower: all three use one broker.
        assert_eventually(lambda: "oban_style_queue.deliver" in tasks(demo.flower), within_s=40)

    assert foreign.seen() == []


def test_a_design_gets_the_modules_of_pythonpath_and_the_variables_that_are_passed_by_name(
    short_plan: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(DESIGN)
    (tmp_path / "helper.py").write_text("NAME = 'mine'\n")
    variables = {"TOKEN_OF_MINE": "secret", "NOT_MINE": "x", "DUETIME_PASS_ENVIRONMENT": "TOKEN_OF_MINE"}

    # Both relative, and the clients have another working directory.
    done = run("run", "mine.py:design", short_plan, "--json", cwd=tmp_path, PYTHONPATH=".", **variables)

    assert done.stdout, done.stderr
    assert json.loads(done.stdout)["cells"][0]["outcome"] == "pass"
