"""A run that is too short for the recovery that a library documents is not applicable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from duetime import registry
from duetime.harness.plan.lookup import named
from duetime.harness.processes.services import Services
from duetime.harness.runs.applicability import not_applicable_reason


@pytest.mark.parametrize(
    ("recovers_within_s", "scenario", "reason"),
    [
        (300.0, "crash", "is promised within 300 s"),
        (4.0, "crash", None),
        (300.0, "downtime", None),
        (300.0, "calm", None),
    ],
)
def test_a_run_that_ends_before_a_documented_recovery_is_not_applicable(
    recovers_within_s: float, scenario: str, reason: str | None, tmp_path: Path
) -> None:
    design = registry.load("push_readmodel")
    slow = replace(design, guarantees=replace(design.guarantees, recovers_within_s=recovers_within_s))

    found = not_applicable_reason(named(scenario).plan(1), slow, Services(tmp_path, environment={}))

    assert found is None if reason is None else reason in (found or "")
