"""What a library documents about its punctuality and its recovery is compared with a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from duetime import registry
from duetime.harness.plan.lookup import named
from duetime.harness.processes.services import Services
from duetime.harness.runs.applicability import not_applicable_reason
from duetime.harness.runs.guarantees import allowed_violations
from duetime.interface import Guarantees

BASE = Guarantees(delivery="at_least_once", transactional=True, cancels=True)


@pytest.mark.parametrize(
    ("guarantees", "scenario", "allowed"),
    [
        (BASE, "calm", set()),
        (replace(BASE, punctual_to_s=5.0), "calm", {"late"}),
        (replace(BASE, punctual_to_s=1.0), "calm", set()),
        (replace(BASE, early_by_s=1.0), "calm", {"early"}),
        (BASE, "crash", {"duplicate"}),
        (replace(BASE, recovers_within_s=4.0), "crash", {"duplicate", "late"}),
        (replace(BASE, recovers_within_s=4.0), "calm", set()),
    ],
)
def test_only_what_is_documented_is_allowed(guarantees: Guarantees, scenario: str, allowed: set[str]) -> None:
    assert allowed_violations(guarantees, named(scenario).plan(1)) == allowed


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
