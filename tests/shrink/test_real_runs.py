"""The whole command on real servers: a poller that misses what is due in a downtime."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from duetime.harness.plan import lookup
from duetime.harness.plan.plan import PlannedFault
from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import simultaneous_event, unchanged_events
from duetime.history.format import FORMAT
from tests.commands import duetime

pytestmark = pytest.mark.runs


def small_downtime(file: Path) -> Path:
    """Write a plan of three events, one of which is due while the only worker is down."""
    scenario = Scenario(
        name="small_downtime",
        what="",
        demonstrates="",
        hardest_for="",
        operations=lambda random: [
            *unchanged_events(random, seconds=1, horizon_s=2, clients=[1]),
            *simultaneous_event(due_s=2.6, people=3),
        ],
        faults=(PlannedFault(fault="f1", kind="kill", target="all", inject_s=2.2, heal_s=3.4),),
    )
    file.write_text(json.dumps({"format": FORMAT, **scenario.plan(1).to_json()}))
    return file


def test_the_poller_needs_one_reminder_and_one_kill(tmp_path: Path) -> None:
    failed = duetime(
        "run", "pull_worker", str(small_downtime(tmp_path / "small.json")), "--out", str(tmp_path), "--json"
    )
    run_dir = json.loads(failed.stdout)["cells"][0]["run_dir"]

    done = duetime(
        *("shrink", run_dir, "--out", str(tmp_path), "--json"),
        *("--kind", "missed", "--repeats", "1", "--side-by-side", "3"),
    )

    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert found["ending"] == "minimal", found
    assert (found["operations"], found["faults"], found["workers"]) == (1, 1, 1)
    assert found["violation"] == {"label": "missed", "place": "lost", "covered": True}
    assert found["shown"] > 0
    assert "after the only worker was killed" in found["story"]
    plan = lookup.named(found["plan"]).plan(1)
    assert len(plan.operations[0].users) == 1
    assert Path(found["report"]).exists()
