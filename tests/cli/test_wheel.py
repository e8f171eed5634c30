"""The wheel in environments of its own, with the packages that pip takes from the registry."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytestmark = pytest.mark.full


@dataclass(frozen=True)
class Installed:
    """An environment that has only the wheel and what it needs."""

    directory: Path

    def run(self, program: str, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        return self.shell(shlex.join([f"venv/bin/{program}", *arguments]), check=check)

    def shell(self, command: str, *, check: bool = False) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(  # noqa: S602 - as the reader of a message does
            command,
            shell=True,
            env={**environment, "PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "PIP_QUIET": "1"},
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=check,
        )


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", "--local", str(ROOT), str(source)], check=True)
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(source)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    [wheel] = tmp_path.glob("*.whl")
    installed = Installed(tmp_path)
    installed.run("pip", "install", str(wheel), check=True)
    return installed


def test_the_base_is_what_an_application_imports_and_the_printed_command_installs_the_rest(
    installed: Installed,
) -> None:
    imported = installed.run(
        "python", "-c", "import duetime.interface, push_readmodel.scheduler, push_readmodel.design"
    )
    refused = installed.run("duetime", "run", "push_readmodel", "calm")
    says, _, command = refused.stderr.strip().rpartition(": ")
    installed.shell(command, check=True)
    ran = installed.run("duetime", "run", "push_readmodel", "calm")
    no_demo = installed.run("duetime", "demo", "--no-browser")

    assert imported.returncode == 0, imported.stderr
    assert refused.returncode == 2
    assert says == "duetime: duetime run needs psutil, which is not installed"
    assert command.endswith("pip install 'duetime[servers]'")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert no_demo.stderr.startswith("duetime: duetime demo needs uvicorn, which is not installed: ")
    assert no_demo.stderr.endswith("pip install 'duetime[demo]'\n")
