"""An audit of a run from its database alone comes to the run's own verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from duetime.harness.plan.plan import PlannedFault, PlannedOperation
from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import simultaneous_payments
from duetime.history.format import FORMAT
from tests.commands import compared

pytestmark = [pytest.mark.runs, pytest.mark.full]

DESIGNS = Path(__file__).with_name("audited_designs.py")


def later(operation: PlannedOperation) -> PlannedOperation:
    """The same for another errand, 9 s later."""
    assert operation.due_s
    users = tuple(user + 50 for user in operation.users)
    return replace(
        operation, at_s=operation.at_s + 9, due_s=operation.due_s + 9, event=operation.event + 50, users=users
    )


def test_the_audit_of_a_runs_database_agrees_with_the_run(tmp_path: Path) -> None:
    # The worker is killed before the first wages are due; the queue had handed them to it.
    first = simultaneous_payments(due_s=5.0, errands=20, apart_s=0.05)
    scenario = Scenario(
        name="wages_alone",
        what="",
        demonstrates="",
        hardest_for="",
        operations=lambda _: [*first, *(later(one) for one in first)],
        faults=(PlannedFault(fault="f1", kind="kill", target="all", inject_s=4.0, heal_s=5.5),),
    )
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"format": FORMAT, **scenario.plan(1).to_json()}))

    designs = f"{DESIGNS}:read_model,{DESIGNS}:queue"
    _, cells = compared("--designs", designs, "--scenarios", str(plan), out=tmp_path / "runs")

    outcomes = set()
    for cell in cells.values():
        run_dir = Path(cell["run_dir"])
        results, audit = (json.loads((run_dir / name).read_text()) for name in ("results.json", "audit.json"))
        of_the_run = sorted((one["label"], one["op"]) for one in results["violations"])
        of_the_audit = sorted(
            (one["label"], f"{one['key']}/{one['revision']}") for some in audit["examples"].values() for one in some
        )
        assert of_the_audit == of_the_run
        assert audit["outcome"] == results["outcome"], audit["unknown_because"]
        outcomes.add(audit["outcome"])
    assert outcomes == {"pass", "fail"}
