"""`runs/latest` leads to the newest run directory, wherever a command takes one."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from duetime.cli.latest import link_latest, without_latest
from duetime.cli.main import cli
from tests.cli.stored import stored_run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two directories of runs; `latest` leads to the newer one."""
    for name in ("20300101-120000", "20300101-120000-2"):
        stored_run(tmp_path / name)
        link_latest(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("arguments", [["check"], ["report", "--out", "{out}/page.html"]])
def test_every_command_that_takes_a_run_takes_latest(out: Path, arguments: list[str]) -> None:
    command = [argument.format(out=out) for argument in arguments]

    done = CliRunner().invoke(cli, [*command, str(out / "latest" / "crash" / "push_readmodel-seed1")])

    assert done.exit_code == 0, done.output


def test_a_command_names_the_directory_and_not_the_link_that_leads_elsewhere_tomorrow(out: Path) -> None:
    done = CliRunner().invoke(cli, ["report", str(out / "latest"), "--svg", str(out / "picture.svg")])

    assert done.output.endswith(f"is a picture of {out}/20300101-120000-2/crash/push_readmodel-seed1\n")


def test_runs_below_the_link_are_not_counted_again(out: Path) -> None:
    done = CliRunner().invoke(cli, ["report", str(out), "--out", str(out / "page.html")])

    assert done.output.startswith("2 runs,")


def test_the_plan_of_the_latest_run_can_be_repeated(out: Path) -> None:
    plan = out / "latest" / "crash" / "push_readmodel-seed1" / "plan.json"
    done = CliRunner().invoke(cli, ["run", "push_readmodel", str(plan), "--slow", "2"])

    assert "a stored plan is repeated as it is" in str(done.exception)


def test_of_two_commands_that_end_at_once_one_sets_it_and_it_is_never_absent(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directories = [out / f"20300101-12000{n}" for n in range(1, 9)]
    for directory in directories:
        directory.mkdir()
    real_symlink, there = os.symlink, []

    def symlink(*arguments: Any, **options: Any) -> None:
        there.append((out / "latest").exists())
        real_symlink(*arguments, **options)

    monkeypatch.setattr(os, "symlink", symlink)
    threads = [threading.Thread(target=link_latest, args=(directory,)) for directory in directories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert there == [True] * 8
    assert (out / "latest").resolve() in directories
    assert not list(out.glob(".latest*"))


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_what_somebody_else_called_latest_stays(tmp_path: Path, kind: str) -> None:
    mine = tmp_path / "latest"
    mine.mkdir() if kind == "directory" else mine.write_text("mine")
    stored_run(tmp_path / "20300101-120000")

    link_latest(tmp_path / "20300101-120000")

    assert not mine.is_symlink()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_without_links_or_after_its_directory_was_removed_it_is_the_newest_that_is_there(tmp_path: Path) -> None:
    for name in ("20300101-120000-9", "20300101-120000-10", "mine"):
        (tmp_path / name).mkdir()
    newest = tmp_path / "20300101-120000-10"

    assert without_latest(tmp_path / "latest" / "crash") == newest / "crash"

    (tmp_path / "latest").symlink_to("20300101-130000")
    assert without_latest(tmp_path / "latest") == newest


def test_a_file_system_without_links_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    stored_run(tmp_path / "20300101-120000")

    link_latest(tmp_path / "20300101-120000")

    assert [path.name for path in tmp_path.iterdir()] == ["20300101-120000"]
    assert without_latest(tmp_path / "latest") == tmp_path / "20300101-120000"
