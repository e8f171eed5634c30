"""The wheel in environments of its own, with the packages that pip takes from the registry."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytestmark = pytest.mark.full

PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "-c", str(ROOT / "constraints.txt"))


@dataclass(frozen=True)
class Installed:
    """An environment that has only the wheel and what it needs."""

    directory: Path
    wheel: Path

    def pip(self, extra: str = "") -> None:
        self.run("python", *PIP, f"{self.wheel}[{extra}]" if extra else str(self.wheel), check=True)

    def run(self, program: str, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.directory / "venv" / "bin" / program), *arguments],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
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
    return Installed(tmp_path, wheel)


def test_the_base_is_what_an_application_imports_and_the_servers_run_a_design(installed: Installed) -> None:
    installed.pip()
    imported = installed.run(
        "python", "-c", "import duetime.interface, push_readmodel.scheduler, push_readmodel.design"
    )
    refused = installed.run("duetime", "run", "push_readmodel", "calm")
    installed.pip("servers")
    ran = installed.run("duetime", "run", "push_readmodel", "calm")
    no_demo = installed.run("duetime", "demo", "--no-browser")

    assert imported.returncode == 0, imported.stderr
    assert (refused.returncode, refused.stderr) == (
        2,
        "duetime: duetime run needs psutil, which is not installed: venv/bin/python -m pip install 'duetime[servers]'\n",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (
        no_demo.stderr == "duetime: duetime demo needs uvicorn, which is not installed: pip install 'duetime[demo]'\n"
    )
