"""`pip install duetime` is small, and what needs more names the extra to install."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from duetime.extras import EXTRAS, MissingExtra, needed_by
from tests.cli import base_install
from tests.cli.base_install import PROJECT, names, needed
from tests.docs.pages import ROOT

OPTIONAL = PROJECT["optional-dependencies"]
OWN_SERVERS = ".*pip install 'duetime\\[servers\\]'"
WORKERS = ".*pip install 'duetime\\[workers\\]'"
FOR_THE_APPLICATION = "duetime.interface, duetime.checker, push_readmodel.scheduler, push_readmodel.design"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("base")
    base_install.link_base(directory)
    return directory


def test_the_table_of_modules_names_those_of_each_extra() -> None:
    distributions = packages_distributions()

    for extra, modules in EXTRAS.items():
        of_the_table = {canonicalize_name(distributions[module][0]) for module in modules} - {"kombu"}  # it is Celery's
        assert of_the_table == names(OPTIONAL[extra]) - {"duetime"}, extra


def test_each_extra_contains_the_one_before() -> None:
    assert OPTIONAL["all"] == ["duetime[demo]"]
    assert "duetime[servers]" in OPTIONAL["demo"]
    assert "duetime[workers]" in OPTIONAL["servers"]


def test_every_package_that_is_needed_is_pinned_and_the_base_needs_few() -> None:
    constraints = (ROOT / "constraints.txt").read_text().split()
    all_of_them = needed([*PROJECT["dependencies"], *_of_all_extras()])

    assert set(all_of_them) <= {canonicalize_name(line.partition("==")[0]) for line in constraints}
    assert len(needed(PROJECT["dependencies"])) < len(all_of_them) / 2


def test_the_image_has_every_extra() -> None:
    [command] = [part for part in (ROOT / "Dockerfile").read_text().split("RUN ") if part.startswith("python -c")]
    program = command.split(" >requirements.txt")[0].replace("python", sys.executable, 1)

    printed = subprocess.run(program, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S602

    assert set(printed.splitlines()) == {*PROJECT["dependencies"], *_of_all_extras()}


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        ("run push_readmodel calm", 2, f"^duetime: duetime run needs psutil, which is not installed: {OWN_SERVERS}$"),
        ("compare --designs oban_style_queue", 2, f"^duetime: duetime compare needs .*: {OWN_SERVERS}$"),
        ("demo --no-browser", 2, r"^duetime: duetime demo needs .*: .*pip install 'duetime\[demo\]'$"),
        ("serve push_readmodel", 2, f"^duetime: duetime serve needs celery, .*: {WORKERS}$"),
        ("designs", 0, f"^duetime: the design 'oban_style_queue' needs .*: {WORKERS}$"),
        # These need no extra.
        ("install push_readmodel", 2, "cannot create what is missing"),
        ("status push_readmodel", 2, "push_readmodel has no status: connection failed"),
        (f"lint --python {sys.executable} oban_style_queue", 1, "^$"),
    ],
)
def test_a_command_says_which_extra_it_needs(base: Path, tmp_path: Path, command: str, status: int, says: str) -> None:
    done = base_install.python(base, "-m", "duetime.cli", *command.split(), cwd=tmp_path)

    assert done.returncode == status, done.stderr
    assert re.search(says, done.stderr, flags=re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr


def test_the_fixtures_name_the_extra_that_they_need(base: Path, tmp_path: Path) -> None:
    # pytest is the user's own.
    import_it = (
        "import sys, types; sys.modules['pytest'] = types.ModuleType('pytest'); from duetime.testing import engine"
    )

    done = base_install.python(base, "-c", import_it, cwd=tmp_path)

    assert re.search(f"duetime.testing needs psutil, which is not installed: {OWN_SERVERS}", done.stderr), done.stderr


def test_the_application_needs_no_extra(base: Path, tmp_path: Path) -> None:
    done = base_install.python(base, "-c", f"import {FOR_THE_APPLICATION}", cwd=tmp_path)

    assert done.returncode == 0, done.stderr


def test_another_missing_module_keeps_its_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_library'"), needed_by("this"):
        importlib.import_module("no_such_library")


def test_a_module_that_an_installed_package_lacks_keeps_its_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'redis.absent'"), needed_by("this"):
        importlib.import_module("redis.absent")


def test_the_outer_block_names_the_extra_that_it_needs_altogether(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duetime.extras.find_spec", lambda _name: None)

    with (
        pytest.raises(MissingExtra, match=r"^a command needs redis, .*'duetime\[demo\]'$"),
        needed_by("a command", least="demo"),
        needed_by("a design"),
    ):
        raise ModuleNotFoundError(name="redis")


def _of_all_extras() -> list[str]:
    return [line for extra in EXTRAS for line in OPTIONAL[extra] if not line.startswith("duetime[")]
