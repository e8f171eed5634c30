"""A stored run of format 1 is judged, drawn and replayed as it was by the version that wrote it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from duetime.checker import judge_history
from duetime.faults.fault import FAULT_KINDS
from duetime.harness.plan.lookup import named, replay
from duetime.harness.runs.cell import stored_cell
from duetime.history import load
from tests.commands import duetime

STORED = Path(__file__).parents[1] / "data" / "format-1" / "oban_style_queue-downtime"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A copy, because `duetime check` writes results.json."""
    return Path(shutil.copytree(STORED, tmp_path / "run"))


def test_a_run_of_format_1_has_the_verdict_and_counts_of_then(run_dir: Path) -> None:
    then = json.loads((run_dir / "results.json").read_bytes())

    done = duetime("check", str(run_dir), "--json", "--strict")

    now = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert then["format"] == 1
    assert now["outcome"] == then["outcome"]
    # Later versions count more.
    assert {name: now["counts"][name] for name in then["counts"]} == then["counts"]
    assert now["lateness_s"] == then["lateness_s"]
    assert not load(run_dir).problems


def test_a_run_of_format_1_has_a_cell(run_dir: Path) -> None:
    cell = stored_cell(run_dir)

    assert (cell.design, cell.scenario, cell.seed) == ("oban_style_queue", "downtime", 1)
    assert (cell.outcome, cell.within_guarantees) == ("fail", True)
    assert (cell.counts["missed"], cell.counts["phantom"]) == (14, 3)
    closed = json.loads((run_dir / "closed.json").read_bytes())
    missed = {one.op: one.at_ns for one in judge_history(load(run_dir)).violations if one.label == "missed"}
    first_ns = min(missed[pending["op"]] for pending in closed["pending"] if pending["op"] in missed)
    assert cell.longest_s == {"stuck": pytest.approx((closed["at_ns"] - first_ns) / 1e9)}


def test_an_unverified_fault_of_a_run_of_format_1_is_in_the_explanation(run_dir: Path) -> None:
    closed = json.loads((run_dir / "closed.json").read_bytes())
    (run_dir / "closed.json").write_text(json.dumps({**closed, "unseen": ["f1 (kill all): it did not end"]}))

    assert "Not verified: f1 (kill all): it did not end." in stored_cell(run_dir).explanation


def test_a_run_of_format_1_is_drawn(run_dir: Path, tmp_path: Path) -> None:
    page = duetime("report", str(run_dir), "--out", str(tmp_path / "report.html"))
    picture = duetime("report", str(run_dir), "--svg", str(tmp_path / "run.svg"))

    assert (page.returncode, picture.returncode) == (0, 0), page.stderr + picture.stderr
    assert page.stdout.startswith("1 runs")
    assert FAULT_KINDS["kill"].title in (tmp_path / "run.svg").read_text()


def test_a_plan_of_format_1_is_the_plan_of_today(run_dir: Path) -> None:
    assert replay(run_dir / "plan.json").plan(99) == named("downtime").plan(1)
