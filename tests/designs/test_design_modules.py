"""A design's file has its real name in every process, sees the modules beside it, and hides no other module."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from duetime import contenders, registry
from duetime.errors import DesignNotLoadable
from duetime.interface import Design
from tests.commands import duetime
from tests.each_contender import each_contender

OWN_NAME = """
from dataclasses import replace
from duetime.interface import Role
from duetime.reference import design as reference
from {sibling} import SUMMARY

def late():
    import {sibling}
    return {sibling}.SUMMARY

class OfThisModule: ...

design = replace(reference, name="own", summary=f"{{SUMMARY}} {{OfThisModule.__module__}}", roles=[Role(
    name="worker", ready="", argv=({python!r}, "-c", "import json, {module}, {sibling}; "
    "print(json.dumps([{module}.design.summary, {module}.OfThisModule.__module__]))"))])
"""


def made(folder: Path, module: str = "own_design", sibling: str = "beside", summary: str = "a sibling's") -> str:
    """Write a design and the module that it imports; return its name."""
    folder.mkdir(parents=True, exist_ok=True)
    text = OWN_NAME.format(module=module, sibling=sibling, python=sys.executable)
    (folder / f"{module}.py").write_text(text)
    (folder / f"{sibling}.py").write_text(f"SUMMARY = {summary!r}\n")
    return f"{folder / module}.py:design"


def test_a_file_has_its_real_name_and_sees_its_siblings(tmp_path: Path) -> None:
    design = registry.load(made(tmp_path, "real_name_of_mine", "beside_mine"))

    assert design.summary == "a sibling's real_name_of_mine"
    assert importlib.import_module("real_name_of_mine").design is design
    assert registry.load(f"{tmp_path}/real_name_of_mine.py:design") is design


def test_a_file_in_a_package_has_the_name_of_its_package(tmp_path: Path) -> None:
    package = tmp_path / "package_of_mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "beside.py").write_text("from duetime.reference import design\n")
    (package / "redis.py").touch()  # in a package it hides nothing
    (package / "inner.py").write_text("from .beside import design\nname = __name__\n")

    design = registry.load(f"{package}/inner.py:design")

    assert isinstance(design, Design)
    assert sys.modules["package_of_mine.inner"].name == "package_of_mine.inner"
    assert registry.search_path(f"{package}/inner.py:design") == str(tmp_path)


@pytest.mark.processes
def test_a_served_worker_imports_the_file_by_its_real_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = made(tmp_path / "designs")
    urls = {"DUETIME_DATABASE_URL": "postgresql://x", "DUETIME_BROKER_URL": "redis://x", "PYTHONPATH": str(tmp_path)}
    deliveries = {"DUETIME_DELIVERIES": str(tmp_path / "deliveries.jsonl")}

    done = duetime("serve", name, "--name", "w", "--state", str(tmp_path / "state"), **urls, **deliveries)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["a sibling's own_design", "own_design"]


@pytest.mark.parametrize(
    ("module", "sibling", "message"),
    [
        ("redis", "beside", r"redis.py' would hide the module redis in .*site-packages"),
        ("queue", "beside", r"queue.py' would hide the module queue of the standard library"),
        ("mine", "celery", r"celery.py' would hide the module celery in .*site-packages"),
        ("mine", "duetime", r"duetime.py' would hide the module duetime in .*duetime/__init__.py"),
        ("with.dot", "beside", "no module whose name has a dot"),
    ],
)
def test_a_file_that_would_hide_another_module_is_refused(
    tmp_path: Path, module: str, sibling: str, message: str
) -> None:
    before = sys.modules.get(module)

    with pytest.raises(DesignNotLoadable, match=message):
        registry.load(made(tmp_path, module, sibling))

    assert sys.modules.get(module) is before
    assert str(tmp_path) not in sys.path


def test_two_files_of_one_name_have_siblings_of_their_own_and_share_none_by_chance(tmp_path: Path) -> None:
    first = registry.load(made(tmp_path / "a", "twice", "jobs_twice", "first"))
    late = sys.modules["twice"].late
    alone = late()
    second = registry.load(made(tmp_path / "b", "twice", "jobs_twice", "second"))

    assert (first.summary, alone, second.summary) == ("first twice", "first", "second twice")
    with pytest.raises(ImportError, match=r"two modules called jobs_twice .*/a/jobs_twice.py and .*/b/jobs_twice.py"):
        late()


def test_two_contenders_have_jobs_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "FOLDER", tmp_path / "contenders")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("one", "another"):
        made(tmp_path / "contenders" / name, "design", "jobs", name)

    found = [registry.load(f"contender:{name}").summary for name in ("one", "another", "one")]

    assert found == [
        "one contenders.one.design",
        "another contenders.another.design",
        "one contenders.one.design",
    ]


@pytest.mark.parametrize("name", each_contender(contenders.names()))
def test_no_module_of_a_contender_hides_one_of_its_environment(name: str) -> None:
    contender = registry.load(f"contender:{name}").contender
    assert contender is not None
    if contenders.missing(name):
        pytest.skip(f"duetime contenders install {name}")
    modules = [file.stem for file in contender.here.glob("*.py")]
    find = "import sys, importlib.util as u; print([m for m in sys.argv[1:] if u.find_spec(m)])"

    done = subprocess.run([contender.python, "-I", "-c", find, *modules], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
