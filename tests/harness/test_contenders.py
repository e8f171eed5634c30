"""Contenders are found, installed into the user's cache, and run in their own environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from duetime import contenders, registry
from duetime.errors import DesignNotLoadable, UnknownName
from tests.commands import compared, duetime


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path) -> Path:
    """The folder of a contender called ``mine``."""
    monkeypatch.setattr(contenders, "FOLDER", tmp_path / "contenders")
    folder = tmp_path / "contenders" / "mine"
    folder.mkdir(parents=True)
    (folder / "design.py").write_text("")
    return folder


@pytest.mark.parametrize("name", contenders.names())
def test_each_contender_can_be_loaded_without_its_library(name: str, empty_cache: Path) -> None:
    design = registry.load(f"contender:{name}")

    assert design.name == f"contender:{name}"
    assert design.contender is not None
    assert (contenders.folder(name) / "README.md").exists()
    packages = [file for file in ("requirements.txt", "package.json") if (contenders.folder(name) / file).exists()]
    assert not packages or contenders.missing(name)


@pytest.mark.parametrize("name", contenders.names())
def test_each_contender_pins_exact_versions(name: str) -> None:
    requirements = contenders.folder(name) / "requirements.txt"
    lines = requirements.read_text().splitlines() if requirements.exists() else []

    assert all("==" in line for line in lines if line and not line.startswith("#"))


def test_an_unknown_contender_and_an_unknown_variant_are_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'procrastinate'"):
        registry.load("contender:procrastinat")
    with pytest.raises(UnknownName, match="no variant named 'tunde'"):
        registry.load("contender:procrastinate:tunde")


def test_a_design_that_cannot_be_imported_is_named(made: Path) -> None:
    with pytest.raises(DesignNotLoadable, match="contender:mine"):
        registry.load("contender:mine")


def test_the_command_needs_a_name(empty_cache: Path) -> None:
    done = duetime("contenders", "install")

    assert done.returncode == 2
    assert "--all" in done.stderr


@pytest.mark.parametrize("command", [["run", "contender:oban", "calm"], ["compare", "--designs", "contender:oban"]])
def test_a_run_of_what_is_not_installed_says_how_to_install_it(empty_cache: Path, command: list[str]) -> None:
    done = duetime(*command, "--out", str(empty_cache))

    assert done.returncode == 2, done.stderr
    assert "contender:oban: its Python packages are not installed; run `duetime contenders install oban`" in done.stderr


def test_the_list_says_how_to_install(empty_cache: Path) -> None:
    done = duetime("contenders")

    [line] = [line for line in done.stdout.splitlines() if line.startswith("procrastinate")]
    how = "its Python packages are not installed; run `duetime contenders install procrastinate`"
    assert how in line or "cannot be here" in line


@pytest.mark.runs
def test_an_installed_contender_is_judged_in_a_run(tmp_path: Path) -> None:
    done = duetime("contenders", "install", "procrastinate")
    if done.returncode:
        pytest.skip(done.stderr)

    _, cells = compared("--designs", "contender:procrastinate", "--scenarios", "calm,crash", out=tmp_path)

    calm, crash = cells["calm", "contender:procrastinate"], cells["crash", "contender:procrastinate"]
    assert calm["counts"]["missed"] == calm["counts"]["duplicate"] == 0
    assert calm["counts"]["delivered"] == 30
    [closed] = tmp_path.glob("*/crash/*/closed.json")
    held = [pending["where"] for pending in json.loads(closed.read_text())["pending"]]
    # A killed worker's jobs stay in "doing": nothing retries them unless the user writes the task that does.
    assert held and all("doing" in where for where in held)
    assert crash["counts"]["duplicate"] == 0
