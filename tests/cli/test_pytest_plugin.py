"""The pytest plugin: nothing without its option, the tests of `duetime conform` with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from duetime.conformance import PROMISES
from tests.docs.pages import ROOT

pytestmark = pytest.mark.processes

SMALL = ROOT / "tests" / "designs" / "small_scheduler.py"
ABSENT = """
import sys

def test_nothing_was_imported_or_defined(request):
    assert [name for name in sys.modules if name.startswith("duetime.")] == ["duetime.pytest_plugin"]
    assert [item.name for item in request.session.items] == ["test_nothing_was_imported_or_defined"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of somebody else, with a test and strict settings."""
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers --strict-config\nfilterwarnings = error\n"
    )
    (tmp_path / "test_theirs.py").write_text("def test_theirs(): pass\n")
    return tmp_path


def run_pytest(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with the plugin, registered or not, in `project`."""
    plugin = ("-p", "no:duetime", "-p", "duetime.pytest_plugin", "-p", "no:cacheprovider")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, *arguments], cwd=project, capture_output=True, text=True, check=False
    )


def test_without_its_option_it_does_nothing(project: Path) -> None:
    (project / "test_theirs.py").write_text(ABSENT)

    done = run_pytest(project)
    fixtures = run_pytest(project, "--fixtures")

    assert done.returncode == 0, done.stdout
    assert "duetime/pytest_plugin" not in fixtures.stdout


def test_each_promise_is_a_test_and_a_failure_shows_the_evidence_and_no_traceback(project: Path) -> None:
    designs = [f"--duetime-design={SMALL}:design", f"--duetime-design={SMALL}:stores_at_once"]

    done = run_pytest(project, "-v", *designs, "--duetime-scenarios=none")

    assert done.returncode == 1, done.stdout
    assert "test_theirs.py::test_theirs PASSED" in done.stdout
    for promise in PROMISES:
        assert f"{SMALL}:design::{promise.name} PASSED" in done.stdout
    assert f"{SMALL}:stores_at_once::it is not pending before the commit FAILED" in done.stdout
    assert (
        "BROKEN: after schedule a/1: pending() has a/1 instead of nothing\nread https://github.com/duetime/duetime/blob/main/docs/contract.md"
        in done.stdout
    )
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--duetime-design=no_such_design"], 4, "ERROR: no design named 'no_such_design'"),
        (["--duetime-design=reference", "--duetime-scenarios=clam"], 4, "Did you mean 'calm'"),
        ([f"--duetime-design={SMALL}:{name}" for name in ("design", "its_twin")], 4, "two designs are called 'small'"),
        (
            [f"--duetime-design={SMALL}:cannot_start", "-k", "rollback"],
            1,
            "install() raised PermissionError: no CREATE",
        ),
    ],
)
def test_what_cannot_be_tested_is_said(project: Path, arguments: list[str], status: int, message: str) -> None:
    done = run_pytest(project, *arguments)

    assert done.returncode == status
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
