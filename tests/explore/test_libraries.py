"""Workers of libraries, in environments of their own, are explored without a change."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from duetime import contenders, registry
from duetime.explore.explorer import Explored, Explorer
from duetime.explore.scopes import scope_named
from duetime.explore.search import Search
from duetime.harness.processes.cleanup import run_tempdir

pytestmark = [pytest.mark.processes, pytest.mark.contenders]
FILES = sorted((Path(__file__).parent / "libraries").glob("*_drain.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_library_repeats_and_two_of_its_workers_deliver_once(file: Path) -> None:
    if missing := contenders.missing(file.stem.removesuffix("_drain")):
        pytest.skip(missing)
    name = f"{file}:design"
    explored = Explored(scope=scope_named("two_workers"), search=Search())
    with run_tempdir() as tempdir, Explorer(registry.load(name), name, explored.scope, tempdir) as explorer:
        explorer.explore(explored, until_s=time.monotonic() + 15, report=lambda _: None)

    assert explored.violation is None
    assert explored.unknown is None
    assert explored.judged >= 1
    assert len(explored.search.after) > 20
