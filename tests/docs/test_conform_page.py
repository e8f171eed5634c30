"""The page about `duetime conform` is enough: its files and commands work as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from duetime.harness.plan import catalogue
from tests.docs.pages import ROOT

pytestmark = pytest.mark.full

PAGE = (ROOT / "docs" / "conform.md").read_text()
COMMANDS = re.findall(r"^\$ (.+)$", PAGE, flags=re.MULTILINE)
OUTPUTS = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def shell(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the page, and a wheel of this source where pip finds it."""
    for name, code in re.findall(r"```python\n# (rq_\w+\.py)\n(.*?)```", PAGE, flags=re.DOTALL):
        (tmp_path / name).write_text(code)
    source = tmp_path_factory.mktemp("source") / "duetime"  # elsewhere, because pytest collects what is in the folder
    subprocess.run(["git", "clone", "--quiet", "--local", str(ROOT), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "-w", str(tmp_path / "wheels"), str(source)], check=True)
    return tmp_path


def typed(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    pip = {"PIP_FIND_LINKS": str(folder / "wheels"), "PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "PIP_QUIET": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, shell=True, cwd=folder, env={**environment, **pip}, capture_output=True, text=True, check=False
    )


def test_the_commands_of_the_page_do_what_it_says(shell: Path) -> None:
    make_venv, install, promises, everything, install_pytest, pytest_promises, _ = COMMANDS
    for command in (make_venv, install, install_pytest):
        done = typed(command, shell)
        assert done.returncode == 0, done.stderr

    assert typed(promises, shell).stdout == OUTPUTS[0]

    in_pytest = typed(pytest_promises, shell)
    assert in_pytest.returncode == 0, in_pytest.stdout
    assert f"{OUTPUTS[0].count('  kept ')} passed" in in_pytest.stdout

    runs = typed(everything, shell)
    # Whether RQ keeps its guarantees is not ours to demand, nor can a busy machine tell; that it was run is.
    assert runs.returncode in (0, 1, 3), runs.stderr
    for scenario in catalogue.CONFORMANCE:
        row = rf"^  (kept|allowed|BROKEN|unknown|not tested) +{scenario.name}\b"
        assert re.search(row, runs.stdout, flags=re.MULTILINE), runs.stdout
    assert int(next(re.finditer(r"calm: (\d+) delivered", runs.stdout))[1]) > 0, runs.stdout


def test_a_promise_breaks_as_the_page_says(shell: Path) -> None:
    for command in COMMANDS[:2]:
        assert typed(command, shell).returncode == 0
    design = shell / "rq_design.py"
    code = design.read_text()
    design.write_text(code.replace("after_commit(session, lambda: self.put(notification))", "self.put(notification)"))

    broken = typed(COMMANDS[2], shell)

    assert design.read_text() != code
    assert broken.returncode == 1
    for part in OUTPUTS[1].split("  …\n"):
        assert part in broken.stdout
