"""A command that a message prints runs as printed: in the reader's shell, in the reader's directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from duetime.cli.main import print_examples_as_run
from duetime.shell_command import pip_install, program, shell_command

SCRIPT = Path(sys.executable).with_name("duetime")


@pytest.fixture(autouse=True)
def without_our_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH that does not lead to duetime, as in a shell without an activated environment."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def ran(command: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", command], cwd=cwd, capture_output=True, text=True, check=False)


def test_off_the_path_it_is_the_shorter_of_the_two_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SCRIPT.parents[2])
    assert program() == os.path.relpath(SCRIPT)
    assert ran(shell_command("--version")).stdout.startswith("duetime, version")

    monkeypatch.chdir(SCRIPT.parent)
    assert program() == "./duetime"

    (tmp_path / "a" / "b" / "c" / "d" / "e").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b" / "c" / "d" / "e")
    assert program() == str(SCRIPT)


def test_on_the_path_it_is_the_name_alone_also_where_a_link_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "duetime").symlink_to(SCRIPT)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert shell_command("check", "runs/latest") == "duetime check runs/latest"
    assert ran(shell_command("--version")).stdout.startswith("duetime, version")


def test_another_duetime_on_the_path_is_not_taken_for_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy("/bin/true", tmp_path / "duetime")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(SCRIPT.parents[2])

    assert program() == os.path.relpath(SCRIPT)


def test_without_a_script_it_is_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")

    assert shell_command("doctor") == "/usr/bin/python3 -m duetime.cli doctor"


def test_a_working_directory_that_is_gone_does_not_prevent_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert program() == str(SCRIPT)


@pytest.mark.parametrize(
    "name", ['it\'s "mine"', "a b;$(touch x)", "*", "übung\n2", "-runs", "mine.py:design", "oban_style_queue:staged"]
)
def test_a_shell_reads_each_argument_as_it_was(tmp_path: Path, name: str) -> None:
    command = shell_command("check", Path(name)).removeprefix(program())

    read = ran(f"printf '%s|' {command}", cwd=tmp_path).stdout

    assert read == f"check|{'./' if name == '-runs' else ''}{name}|"
    assert not list(tmp_path.iterdir())


def test_the_examples_in_a_help_begin_with_what_starts_this_duetime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SCRIPT.parents[2])
    command = click.Command("run", help="Run.\n\n\b\n  duetime run a b\n  1  duetime run c d\n\nduetime runs.")

    print_examples_as_run(command)

    start = os.path.relpath(SCRIPT)
    assert command.help == f"Run.\n\n\b\n  {start} run a b\n  1  {start} run c d\n\nduetime runs."


def test_every_command_of_the_help_of_a_process_runs_as_printed() -> None:
    printed = ran(f"{SCRIPT} run --help").stdout

    assert f"Usage: {program()} run [OPTIONS]" in printed
    assert f"  {program()} run push_readmodel crash" in printed


def test_pip_is_called_by_the_interpreter_unless_the_path_leads_to_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    pip = python.with_name("pip")
    python.parent.mkdir(parents=True)
    for file in (python, pip):
        file.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    monkeypatch.setenv("PATH", "/nowhere")
    elsewhere = pip_install("duetime[demo]")
    monkeypatch.setenv("PATH", str(pip.parent))
    here = pip_install("duetime[demo]")

    assert elsewhere == "venv/bin/python -m pip install 'duetime[demo]'"
    assert here == "pip install 'duetime[demo]'"
