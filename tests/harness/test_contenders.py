"""Contenders are found, installed into the user's cache, and run in their own environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from duetime import contenders, registry
from duetime.cli.contenders import contenders_group
from duetime.errors import BadUsage, DesignNotLoadable, UnknownName
from duetime.harness.runs.cell import stored_cell
from duetime.league.entrants import entrants
from duetime.pages import SOURCE
from duetime.shell_command import shell_command
from tests.commands import duetime
from tests.each_contender import IN_CI


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    # A design that was loaded here looks for its interpreter in this cache.
    for name in [name for name in sys.modules if name.startswith("contenders.")]:
        del sys.modules[name]


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


def test_a_library_that_is_imported_at_the_top_of_a_design_is_said_to_belong_in_functions(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made / "design.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(str(made.parent.parent))

    with pytest.raises(DesignNotLoadable, match=r"no_such_library.*import the library inside functions"):
        registry.load("contender:mine")


def test_the_command_needs_a_name(empty_cache: Path) -> None:
    done = duetime("contenders", "install")

    assert done.returncode == 2
    assert "--all" in done.stderr


@pytest.mark.parametrize("command", [["run", "contender:oban", "calm"], ["compare", "--designs", "contender:oban"]])
def test_a_run_of_what_is_not_installed_says_how_to_install_it(empty_cache: Path, command: list[str]) -> None:
    done = duetime(*command, "--out", str(empty_cache))

    assert done.returncode == 2, done.stderr
    install = shell_command("contenders", "install", "oban")
    assert f"contender:oban: its Python packages are not installed; run `{install}`" in done.stderr


def test_what_pip_installs_has_no_contenders_and_says_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contenders, "FOLDER", tmp_path)

    with pytest.raises(BadUsage, match=f"clone {SOURCE}"):
        registry.load("contender:oban")
    for arguments in ([], ["install", "--all"]):
        assert SOURCE in str(CliRunner().invoke(contenders_group, arguments).exception)


def test_the_list_says_how_to_install(empty_cache: Path) -> None:
    done = duetime("contenders")

    [line] = [line for line in done.stdout.splitlines() if line.startswith("procrastinate")]
    command_line = shell_command("contenders", "install", "procrastinate")
    how = f"its Python packages are not installed; run `{command_line}`"
    assert how in line or "cannot be here" in line


"""Python packages alone, so that every machine with a network can install them."""


def contenders_command(out: Path, *arguments: str, designs: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run ``duetime league`` on `designs`, by default what CI installs, with a document of its own."""
    document = out / "league.md"
    if not document.exists():
        shutil.copy(contenders.ROOT / "docs" / "league.md", document)
    return duetime(
        "league", "--any-tree", "--runs", "1", "--scenarios", "calm,crash", "--out", str(out), "--document",
        str(document), "--designs", ",".join(designs or installed(*IN_CI)), *arguments,
    )  # fmt: skip


def installed(*names: str) -> list[str]:
    """Return the installed ones of these contenders, each with its tuned variant if it has one."""
    every = [design.name.removeprefix(contenders.PREFIX) for design in entrants() if design.contender]
    return [name for name in every if name.partition(":")[0] in names]


def assert_within_guarantees(out: Path, designs: Sequence[str]) -> None:
    cells = [stored_cell(run.parent) for run in out.glob("*/*/closed.json")]

    assert {cell.design for cell in cells} == {f"contender:{name}" for name in designs}
    for cell in cells:
        assert cell.within_guarantees is not False, f"{cell.scenario} / {cell.design}: {cell.explanation}"
        # RQ is up to a second early, and may deliver what is then cancelled in time.
        assert cell.scenario != "calm" or cell.counts["delivered"] >= 30


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of two contenders, and the page made of them."""
    done = duetime("contenders", "install", *IN_CI)
    if done.returncode:
        pytest.skip(done.stderr)
    out = tmp_path_factory.mktemp("matrix")
    ran = contenders_command(out)
    assert "wrote" in ran.stdout, ran.stderr
    return out


@pytest.mark.runs
def test_two_contenders_keep_what_their_documentation_promises(stored: Path) -> None:
    assert_within_guarantees(stored, installed(*IN_CI))


@pytest.mark.full
def test_every_other_installed_contender_keeps_what_its_documentation_promises(tmp_path: Path) -> None:
    others = installed(*(set(contenders.names()) - set(IN_CI)))
    if not others:
        pytest.skip("no other contender is installed; run `duetime contenders install --all`")
    ran = contenders_command(tmp_path, designs=others)

    assert "wrote" in ran.stdout, ran.stderr
    assert_within_guarantees(tmp_path, others)


@pytest.mark.runs
def test_the_jobs_of_a_killed_worker_of_procrastinate_stay_in_doing(stored: Path) -> None:
    run = stored / "crash" / "contender-procrastinate-seed1"
    held = [pending["where"] for pending in json.loads((run / "closed.json").read_text())["pending"]]

    # Nothing retries them unless the user writes the task that does.
    assert held and all("doing" in where for where in held)
    assert stored_cell(run).counts["duplicate"] == 0


@pytest.mark.runs
def test_stored_runs_are_not_repeated_and_give_the_same_page(stored: Path) -> None:
    page = (stored / "league.md").read_text()
    again = contenders_command(stored)

    assert again.stdout.startswith("0 runs"), again.stdout
    assert (stored / "league.md").read_text() == page
    assert "| **procrastinate** | late" in page
    assert " runs, " in contenders_command(stored, "--again", "fail", "--estimate").stdout.replace("0 runs, ", "")
