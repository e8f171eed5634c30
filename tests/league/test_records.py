"""A run's record stands in for its directory on another machine: with the same verdict, and in the same pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from duetime import registry
from duetime.errors import BadUsage
from duetime.harness.plan import lookup
from duetime.harness.processes.services import Services
from duetime.harness.runs.cell import Cell
from duetime.league import records as records_module
from duetime.league.about import About
from duetime.league.document import document
from duetime.league.facts import facts_of
from duetime.league.matrix import Matrix
from duetime.league.records import MEASURED, keep, restore
from duetime.league.sources import sources_of
from duetime.league.why import Explanations
from tests.cli.stored import stored_run

DESIGNS = ("push_readmodel", "pull_worker", "oban_style_queue")
MEASURED_THEN = {"tree": "0d01f3a", "date": "2030-01-01", "cores": 2, "explanation": "Unknown: it was interrupted."}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run that passes, one that fails, and one that was interrupted."""
    directory = tmp_path / "out"
    stored_run(directory)
    stored_run(directory, design="pull_worker", came=2)
    stored_run(directory, design="oban_style_queue", closed=False)
    for design in DESIGNS:
        run_dir = directory / "crash" / f"{design}-seed1"
        (run_dir / MEASURED).write_text(json.dumps({**MEASURED_THEN, "sources": sources_of(design)}))
        plan = json.loads((run_dir / "plan.json").read_text())
        plan["versions"] = {"postgresql": "18.6", "broker": "9.1.2", "rq of contender:rq": "3.0.0", "psycopg": "3.3.9"}
        (run_dir / "plan.json").write_text(json.dumps(plan))
    return directory


def matrix(out: Path) -> Matrix:
    return Matrix([registry.load(name) for name in DESIGNS], [lookup.named("crash")], [1], out, of_head=True)


def cells(out: Path, tempdir: Path) -> list[Cell]:
    return [cell for _, cell in matrix(out).cells(Services(tempdir)) if cell]


def page(out: Path, tempdir: Path) -> str:
    judged = [(place, cell) for place, cell in matrix(out).cells(Services(tempdir)) if cell]
    return document(judged, Explanations([]), About(facts={name: facts_of(name) for name in DESIGNS}))


def test_what_is_restored_gives_the_same_pages(out: Path, tmp_path: Path) -> None:
    before = page(out, tmp_path)
    found = cells(out, tmp_path)
    keep(tmp_path / "records", found)
    shutil.rmtree(out)
    assert matrix(out).to_run(Services(tmp_path), frozenset())

    restore(tmp_path / "records", out)

    assert {cell.outcome for cell in found} == {"pass", "fail", "unknown"}
    assert cells(out, tmp_path) == found
    assert page(out, tmp_path) == before
    assert "0d01f3a" in before
    assert "rq 3.0.0" in before
    assert not matrix(out).to_run(Services(tmp_path), frozenset())


def test_keeping_again_what_was_restored_changes_no_record(out: Path, tmp_path: Path) -> None:
    keep(tmp_path / "records", cells(out, tmp_path))
    before = (tmp_path / "records" / "crash.jsonl").read_text()
    restore(tmp_path / "records", tmp_path / "another")

    keep(tmp_path / "records", cells(tmp_path / "another", tmp_path))

    assert (tmp_path / "records" / "crash.jsonl").read_text() == before


def test_a_run_that_is_here_is_not_replaced_by_its_record(out: Path, tmp_path: Path) -> None:
    keep(tmp_path / "records", cells(out, tmp_path))
    before = sorted(file.name for file in (out / "crash" / "push_readmodel-seed1").iterdir())

    restore(tmp_path / "records", out)

    assert sorted(file.name for file in (out / "crash" / "push_readmodel-seed1").iterdir()) == before


def test_records_of_other_runs_stay(out: Path, tmp_path: Path) -> None:
    found = cells(out, tmp_path)
    keep(tmp_path / "records", found)

    keep(tmp_path / "records", found[:1])

    lines = (tmp_path / "records" / "crash.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in lines] == sorted(f"{design}-seed1" for design in DESIGNS)


def test_a_record_of_other_sources_counts_as_no_run(out: Path, tmp_path: Path) -> None:
    keep(tmp_path / "records", cells(out, tmp_path))
    file = tmp_path / "records" / "crash.jsonl"
    file.write_text(file.read_text().replace(sources_of("push_readmodel"), "others"))
    restore(tmp_path / "records", tmp_path / "another")

    left = matrix(tmp_path / "another").to_run(Services(tmp_path), frozenset())

    assert sources_of("push_readmodel") == sources_of("pull_worker")
    assert [place.design.name for place in left] == list(DESIGNS)


def test_the_page_says_how_many_were_judged_by_an_earlier_checker(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "checker_sources", lambda: "earlier")
    keep(tmp_path / "records", cells(out, tmp_path))
    restore(tmp_path / "records", tmp_path / "another")

    assert "judged by the checker" not in page(out, tmp_path)
    assert "3 of them judged by the checker of their tree" in " ".join(page(tmp_path / "another", tmp_path).split())


@pytest.mark.parametrize("line", ["{", "[]", '{"run": "push_readmodel-seed1"}'])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "crash.jsonl").write_text(f"{line}\n")

    with pytest.raises(BadUsage, match=r"crash\.jsonl, line 1 is no record"):
        restore(tmp_path / "records", tmp_path / "out")

    assert not (tmp_path / "out").exists()
