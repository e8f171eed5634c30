"""A database server whose clock differs from the harness's: nobody is convicted because of the difference alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from duetime.checker import judge
from tests.checker.small_histories import delivery
from tests.checker.stored_runs import PLAN, append, close, good_run, write, write_lines

MS = 1_000_000


def run_with(tmp_path: Path, *, delivered_s: float | None, ahead_ms: list[float], uncertainty_ms: float = 1) -> Path:
    """A good run in which c/1, due at 8 s, is delivered at `delivered_s`, and the clock was read at 0 s and 12 s."""
    run_dir = good_run(tmp_path)
    write_lines(run_dir / "deliveries.jsonl", [
        line for line in map(dict, _lines(run_dir / "deliveries.jsonl")) if line["op"] != "c/1"
    ])  # fmt: skip
    if delivered_s is not None:
        append(run_dir / "deliveries.jsonl", delivery("c/1", at_s=delivered_s))
    for at_s, offset in zip((11, 12), ahead_ms, strict=True):
        append(run_dir / "clock.jsonl", {
            "wall_ns": 10**18 + at_s * 10**9, "mono_ns": at_s * 10**9,
            "database_ahead_ns": int(offset * MS), "uncertainty_ns": int(uncertainty_ms * MS),
        })  # fmt: skip
    return close(run_dir)


def _lines(path: Path) -> list[dict[str, object]]:
    import json

    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_delivery_that_is_early_by_the_difference_is_unknown_with_the_figure(tmp_path: Path) -> None:
    results = judge(run_with(tmp_path, delivered_s=7.7, ahead_ms=[300, 300]))

    assert (results.outcome, results.counts["early"], results.counts["unknown_early"]) == ("unknown", 0, 1)
    assert "the clock of the database server was up to 301.0 ms ahead" in results.unknown_because[0]


def test_a_delivery_that_is_early_by_more_than_the_difference_explains_is_early(tmp_path: Path) -> None:
    results = judge(run_with(tmp_path, delivered_s=7.6, ahead_ms=[300, 300]))

    assert (results.outcome, results.counts["early"]) == ("fail", 1)


def test_a_database_that_is_behind_explains_no_early_delivery(tmp_path: Path) -> None:
    results = judge(run_with(tmp_path, delivered_s=7.7, ahead_ms=[-300, -300]))

    assert (results.outcome, results.counts["early"]) == ("fail", 1)


def test_the_difference_excuses_nothing_in_a_design_that_uses_the_clock_of_its_workers(tmp_path: Path) -> None:
    run_dir = run_with(tmp_path, delivered_s=7.7, ahead_ms=[300, 300])
    for due_by, outcome in (("workers", "fail"), ("either", "unknown"), ("database", "unknown")):
        write(run_dir / "plan.json", {**PLAN, "guarantees": {"due_by": due_by}})
        assert judge(close(run_dir)).outcome == outcome


def test_a_clock_that_runs_fast_is_judged_by_the_larger_of_both_readings(tmp_path: Path) -> None:
    results = judge(run_with(tmp_path, delivered_s=7.7, ahead_ms=[0, 300]))

    assert (results.outcome, results.counts["early"]) == ("unknown", 0)
    assert "changed by 300.0 ms" in results.unknown_because[0]


def test_a_delivery_that_is_late_or_missing_by_the_difference_is_not_a_violation(tmp_path: Path) -> None:
    limit_s = PLAN["profile"]["lateness_limit_s"]
    for number, (behind_ms, late_s, label) in enumerate([(500, 0.4, "unknown_late"), (500, 0.6, "late")]):
        directory = tmp_path / str(number)
        directory.mkdir()
        results = judge(run_with(directory, delivered_s=8 + limit_s + late_s, ahead_ms=[-behind_ms] * 2))
        assert results.counts[label] == 1, results.counts
    missing = tmp_path / "missing"
    missing.mkdir()
    results = judge(run_with(missing, delivered_s=None, ahead_ms=[-10_000, -10_000]))
    assert (results.outcome, results.counts["missed"]) == ("unknown", 0)


@pytest.mark.parametrize("ahead_ms", [40, -40])
def test_a_difference_within_the_tolerance_changes_nothing(tmp_path: Path, ahead_ms: float) -> None:
    assert judge(run_with(tmp_path, delivered_s=8.0, ahead_ms=[ahead_ms, ahead_ms])).outcome == "pass"
