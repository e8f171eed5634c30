"""A stored run counts as long as the committed sources that decided it are the same."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from duetime import registry
from duetime.errors import BadUsage
from duetime.harness.plan import lookup
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.services import Services
from duetime.harness.runs.cell import Cell
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.spec import RunSpec
from duetime.league import matrix, sources
from duetime.league.matrix import Matrix, Place
from duetime.league.records import MEASURED
from duetime.league.sources import sources_of

DESIGNS = ("push_readmodel", "contender:rq", "contender:rq:tuned", "contender:saq")
CHANGED = {
    "duetime/harness/runs/run.py": set(DESIGNS),
    "duetime/settings.py": set(DESIGNS),
    "push_readmodel/drain.py": {"push_readmodel"},
    "contenders/rq/worker.py": {"contender:rq", "contender:rq:tuned"},
    "contenders/rq/README.md": set(),
    "contenders/rq/facts.toml": set(),
    "duetime/checker/verdicts.py": set(),
    "duetime/league/page.py": set(),
    "docs/league.md": set(),
}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    sources._listed.cache_clear()
    git(tmp_path, "init", "-q")
    for file in ("contenders/saq/design.py", *CHANGED):
        write(tmp_path / file, "first")
    commit(tmp_path)
    yield tmp_path
    sources._listed.cache_clear()


def git(root: Path, *arguments: str) -> None:
    own = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    subprocess.run(["git", *own, *arguments], cwd=root, check=True, capture_output=True)


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "change")
    sources._listed.cache_clear()


@pytest.mark.parametrize("file", CHANGED)
def test_a_change_concerns_the_designs_whose_runs_it_decides(repository: Path, file: str) -> None:
    before = {design: sources_of(design) for design in DESIGNS}
    write(repository / file, "second")
    commit(repository)

    assert {design for design in DESIGNS if sources_of(design) != before[design]} == CHANGED[file]


def test_a_file_that_is_added_or_renamed_is_a_change(repository: Path) -> None:
    before = sources_of("contender:rq")
    git(repository, "mv", "contenders/rq/worker.py", "contenders/rq/job.py")
    commit(repository)

    assert sources_of("contender:rq") != before


@pytest.mark.parametrize(("tree", "known"), [("0d01f3a", True), ("0d01f3a-dirty", False), ("unknown", False)])
def test_of_a_tree_with_changes_no_sources_are_known(monkeypatch: pytest.MonkeyPatch, tree: str, known: bool) -> None:
    monkeypatch.setattr(matrix, "described_tree", lambda: tree)
    place = Place(registry.load("reference"), lookup.named("calm"), 1)

    assert bool(matrix._sources([place])["reference"]) == known


def test_a_tree_that_changes_between_two_batches_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = iter(["0d01f3a"] * 3)
    monkeypatch.setattr(matrix, "described_tree", lambda: next(trees, "0d01f3a-dirty"))
    ran: list[str] = []

    def run(specs: Sequence[RunSpec]) -> list[Cell]:
        ran.extend(spec.plan.scenario for spec in specs)
        return []

    monkeypatch.setattr(matrix, "run_side_by_side", run)
    design = registry.load("reference")
    found = Matrix([design], [lookup.named("calm"), lookup.named("burst")], [1], tmp_path)

    with pytest.raises(BadUsage, match="0d01f3a has changed meanwhile"):
        found._run(found.places, RunContext(tmp_path, Services(tmp_path), {}, CancelToken()), lambda _: None)

    assert ran == ["calm"]


def test_a_run_of_other_sources_counts_as_not_run(tmp_path: Path) -> None:
    design, scenario = registry.load("reference"), lookup.named("calm")
    directory = tmp_path / "calm" / "reference-seed1"
    directory.mkdir(parents=True)
    (directory / "plan.json").write_text(json.dumps({"plan_hash": scenario.plan(1).hash()}))

    def left(measured_sources: str, *, of_head: bool) -> int:
        measured = {"sources": measured_sources, "explanation": "Unknown: it was interrupted."}
        (directory / MEASURED).write_text(json.dumps(measured))
        return len(Matrix([design], [scenario], [1], tmp_path, of_head=of_head).to_run(Services(tmp_path), frozenset()))

    assert left(sources_of("reference"), of_head=True) == 0
    assert left("others", of_head=True) == 1
    assert left("others", of_head=False) == 0
