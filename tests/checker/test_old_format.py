"""A run in format 1 is read with the current names."""

from __future__ import annotations

import json
from pathlib import Path

from duetime.checker import judge
from duetime.history import load
from tests.checker.small_histories import fault
from tests.checker.stored_runs import PLAN, close, good_run, write, write_lines


def old_run(run_dir: Path) -> Path:
    """A run without a violation, in format 1, in which a worker is removed and another ends by itself."""
    good_run(run_dir)
    plan = {name: value for name, value in PLAN.items() if name != "required_faults"}
    profile = {**PLAN["profile"], "recovery_budget_s": {"server_removed": 2.0}, "beyond_s": 60.0}
    faults = [{"fault": "f1", "kind": "server_removed", "target": "server-1", "inject_s": 4.5, "heal_s": 6.0}]
    write(
        run_dir / "plan.json",
        {**plan, "format": 1, "profile": profile, "faults": faults, "exists_for": ["server_removed"]},
    )
    write_lines(run_dir / "faults.jsonl", fault(kind="server_removed", inject_s=4.5, healed_s=6.0))
    close(run_dir)
    closed = json.loads((run_dir / "closed.json").read_text())
    write(run_dir / "closed.json", {**closed, "restarts": [{"at_ns": 5 * 10**9, "server": "server-1", "status": -9}]})
    return run_dir


def test_the_names_of_format_1_are_converted(tmp_path: Path) -> None:
    history = load(old_run(tmp_path))

    assert history.plan.required_faults == ("worker_removed",)
    assert history.plan.faults == ({"fault": "f1", "kind": "worker_removed", "target": "worker-1"},)
    assert history.plan.profile.recovery_budget_ns == {"worker_removed": 2 * 10**9}
    assert history.plan.profile.owed_until_ns == 60 * 10**9
    assert [fault.kind for fault in history.faults] == ["worker_removed"]
    assert history.closed is not None
    assert history.closed.restarts == ((5 * 10**9, "server-1", -9),)


def test_a_run_in_format_1_is_judged_like_a_current_one(tmp_path: Path) -> None:
    results = judge(old_run(tmp_path))

    assert (results.outcome, results.unknown_because) == ("pass", [])
