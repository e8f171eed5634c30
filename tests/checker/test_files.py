"""Loading and judging stored runs."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from duetime.checker import judge, judge_history, label_lines, write_results
from duetime.errors import NotARun
from duetime.history import load
from tests.checker.correct_worlds import correct_world
from tests.checker.small_histories import delivery
from tests.checker.stored_runs import PLAN, append, close, good_run, store, write

ENDLESS = json.dumps({**PLAN, "profile": {**PLAN["profile"], "lateness_limit_s": float("inf")}})


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return good_run(tmp_path)


def test_a_stored_run_without_a_violation_passes(run_dir: Path) -> None:
    results = judge(run_dir)

    assert (results.outcome, results.unknown_because) == ("pass", [])
    assert (results.counts["delivered"], results.counts["none_due"]) == (2, 1)


def test_the_same_files_give_the_same_bytes(run_dir: Path) -> None:
    append(run_dir / "deliveries.jsonl", delivery("c/1", at_s=8.1))
    close(run_dir)
    first = write_results(judge(run_dir), run_dir).read_bytes()

    assert write_results(judge(run_dir), run_dir).read_bytes() == first
    assert json.loads(first)["outcome"] == "fail"
    assert json.loads(first)["profile"] == PLAN["profile"]


def test_judging_writes_nothing(run_dir: Path) -> None:
    before = {path: path.read_bytes() for path in run_dir.iterdir()}

    judge(run_dir)

    assert {path: path.read_bytes() for path in run_dir.iterdir()} == before


def test_label_lines_lists_every_obligation_and_every_delivery(run_dir: Path) -> None:
    assert list(label_lines(run_dir)) == [
        {"op": "event:4/7/1", "state": "delivered"},
        {"op": "b/1", "state": "none_due"},
        {"op": "c/1", "state": "delivered"},
        {"line": 1, "op": "c/1", "label": "on_time", "also": []},
        {"line": 2, "op": "event:4/7/1", "label": "on_time", "also": []},
    ]


def test_a_directory_that_does_not_exist_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match="is not a directory"):
        load(tmp_path / "nowhere")


def test_a_directory_without_a_plan_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match=r"holds no readable plan\.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    "plan", ["", "[]", "{}", '{"format": 2}', '{"format": 2, "profile": {}}', "\x00" * 9, "[" * 99999, ENDLESS]
)
def test_a_directory_with_a_malformed_plan_is_no_run(run_dir: Path, plan: str) -> None:
    (run_dir / "plan.json").write_text(plan, encoding="utf-8")

    with pytest.raises(NotARun, match="is not a plan"):
        load(run_dir)


def test_a_plan_in_a_later_format_is_refused(run_dir: Path) -> None:
    write(run_dir / "plan.json", {**PLAN, "format": 3})

    with pytest.raises(NotARun, match="is in format 3; this duetime reads formats 1 to 2"):
        load(run_dir)


def test_a_run_that_was_never_closed_is_unknown(run_dir: Path) -> None:
    (run_dir / "closed.json").unlink()

    results = judge(run_dir)

    assert results.outcome == "unknown"
    assert results.explanation == "Unknown: the history was never closed, so more deliveries may still arrive."


def test_a_correct_world_gives_the_same_results_from_files_as_from_memory(tmp_path: Path) -> None:
    random = Random(8)
    for _ in range(300):
        world = correct_world(random, starved=random.random() < 0.5)

        stored, remembered = judge(store(world, tmp_path)), judge_history(world.history())

        assert stored.violations == remembered.violations == []
        assert stored.states == remembered.states
        assert [found.label for found in stored.labelled] == [found.label for found in remembered.labelled]


def test_a_run_closed_without_a_quiet_period_is_unknown(run_dir: Path) -> None:
    closed = json.loads((run_dir / "closed.json").read_text())
    write(run_dir / "closed.json", {**closed, "quiet_s": 0.999})

    assert judge(run_dir).unknown_because == [
        "the last delivery came 999 ms before the workers were stopped, so more may have been pending"
    ]
