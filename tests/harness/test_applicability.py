"""A scenario that proves nothing about a design is rejected with a reason before it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from duetime import registry
from duetime.harness.plan.lookup import named
from duetime.harness.processes.services import Services
from duetime.harness.runs.applicability import not_applicable_reason


@pytest.mark.parametrize(
    ("design", "scenario", "expected"),
    [
        ("push_readmodel", "migration", None),
        ("push_readmodel-to-oban_style_queue", "migration", None),
        ("pull_worker-to-push_readmodel", "migration_stopped", None),
        ("pull_worker-to-push_readmodel", "migration", "have to be stopped before: migration_stopped"),
        ("push_readmodel-to-oban_style_queue", "migration_stopped", "which have to be up: migration"),
        ("pull_worker", "migration_stopped", "this design has no old-worker-1 for worker_removed"),
        ("push_readmodel-to-oban_style_queue", "more_servers", None),
    ],
)
def test_a_scenario_is_run_only_if_it_can_prove_something(
    design: str, scenario: str, expected: str | None, tmp_path: Path
) -> None:
    reason = not_applicable_reason(named(scenario).plan(1), registry.load(design), Services(tmp_path, environment={}))

    assert reason is None if expected is None else expected in (reason or "")
