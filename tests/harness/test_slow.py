"""The slow profile stretches what the application decides, and nothing that the machine or a library decides."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from duetime import reference
from duetime.errors import BadUsage
from duetime.harness.plan.catalogue import FULL, PRODUCTION
from duetime.harness.plan.lookup import named, slowed
from duetime.harness.plan.plan import Environment, Profile
from duetime.harness.plan.scenario import Scenario
from duetime.harness.processes.services import Endpoints, Services
from duetime.harness.runs.applicability import not_applicable_reason
from duetime.harness.runs.participants import settings_for
from duetime.harness.runs.spec import RunSpec
from duetime.interface import Design
from tests.commands import duetime

STRETCHED = {
    *("lateness_limit_s", "recovery_budget_s", "grace_s", "quiet_s", "pending_budget_s", "owed_until_s"),
    *("event_begins_s", "rescue_after_s"),
}
UNCHANGED = {
    *("early_tolerance_s", "in_flight_allowance_s", "delivery_time_s", "canary_period_s"),
    # Of the broker: Celery's default stays what it is, and a scenario that shortens it is stretched.
    *("visibility_timeout_s", "broker_persistence", "broker_replication", "replication", "flushes_commits", "pooler"),
    *("non_excusing_faults", "measures_capacity"),
}


def times(value: Any, factor: float) -> Any:
    if isinstance(value, dict):
        return {name: times(each, factor) for name, each in value.items()}
    return None if value is None else pytest.approx(value * factor)


def test_each_number_of_the_profile_and_of_the_environment_is_decided_about() -> None:
    assert {*asdict(Profile(lateness_limit_s=1)), *asdict(Environment())} == STRETCHED | UNCHANGED | {"time_scale"}


@pytest.mark.parametrize("scenario", [*FULL, *PRODUCTION], ids=lambda scenario: scenario.name)
def test_a_slow_plan_is_the_same_plan_stretched(scenario: Scenario) -> None:
    plan, slow = scenario.plan(1), slowed(scenario, 3).plan(1)

    then, now = ({**asdict(each.profile), **asdict(each.environment)} for each in (plan, slow))
    assert {name: now[name] for name in STRETCHED} == {name: times(then[name], 3) for name in STRETCHED}
    changed = {name for name in UNCHANGED if now[name] != then[name]}
    assert changed == ({"visibility_timeout_s"} if then["visibility_timeout_s"] != 3600 else set())
    assert now["time_scale"] == pytest.approx(then["time_scale"] / 3)
    for before, after in zip(plan.operations, slow.operations, strict=True):
        assert (after.at_s, after.due_s) == (times(before.at_s, 3), times(before.due_s, 3))
        assert replace(after, at_s=0, due_s=0) == replace(before, at_s=0, due_s=0)
    for planned, later in zip(plan.faults, slow.faults, strict=True):
        assert (later.inject_s, later.heal_s) == (times(planned.inject_s, 3), times(planned.heal_s, 3))
        assert later.size_s == planned.size_s
    assert slow.judged_until_s() == times(plan.judged_until_s(), 3)


def test_the_factor_is_part_of_the_plan_and_of_its_hash_and_ordinary_plans_stay_as_they_were(tmp_path: Path) -> None:
    scenario = named("crash")
    plan, slow = scenario.plan(1), slowed(scenario, 2.5).plan(1)
    (tmp_path / "plan.json").write_text(json.dumps(slow.to_json()))
    replayed = named(str(tmp_path / "plan.json"))

    assert slowed(scenario, 1).plan(1) == plan
    assert "slow" not in plan.to_json()
    assert slow.to_json()["slow"] == 2.5
    assert len({plan.hash(), slow.hash(), replace(slow, slow=2.0).hash()}) == 3
    assert replayed.plan(1) == slow
    with pytest.raises(BadUsage, match="a stored plan is repeated as it is"):
        slowed(replayed, 2)


@pytest.mark.parametrize("factor", ["0.5", "nan", "inf", "-3"])
def test_a_factor_that_stretches_nothing_is_refused(factor: str, tmp_path: Path) -> None:
    done = duetime("run", "reference", "calm", "--slow", factor, "--out", str(tmp_path))

    assert done.returncode == 2
    assert f"--slow {factor}: write a number from 1 on" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_too_short_for_a_rescue_names_the_factor_that_is_long_enough(tmp_path: Path) -> None:
    guarantees = replace(reference.design.guarantees, recovers_within_s=181.0)
    design, services = replace(reference.design, guarantees=guarantees), Services(tmp_path, environment={})

    def reason(factor: float) -> str | None:
        return not_applicable_reason(slowed(named("crash"), factor).plan(1), design, services)

    found = re.search(r"--slow (\d+)", reason(1) or "")

    assert found
    assert reason(int(found[1])) is None
    assert reason(int(found[1]) - 1)


def test_the_application_and_its_poller_are_stretched_as_well() -> None:
    def settings(design: Design, factor: float) -> Any:
        spec = SimpleNamespace(plan=slowed(named("calm"), factor).plan(1), design_name=design.name)
        endpoints = SimpleNamespace(
            database_url="postgresql://x", broker_url="redis://x", broker_primary="", services={}
        )
        return settings_for(cast(RunSpec, spec), Path("d"), cast(Endpoints, endpoints), watched=False)

    usual, slow = settings(reference.design, 1), settings(reference.design, 3)

    assert slow.poll_interval == 3 * usual.poll_interval
    assert slow.reminder_lead == 3 * usual.reminder_lead
    assert slow.rescue_after == 3 * usual.rescue_after
    assert slow.delivery_time == usual.delivery_time
