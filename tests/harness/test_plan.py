"""Plans: the same for everyone under one seed, and full of what the scenario is for."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from duetime.errors import BadUsage
from duetime.harness.plan.catalogue import CAPACITY, DEFAULT, SCENARIOS, named, names
from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import CLOSE_S, TOWN, WITHIN_SECOND_S, crowds

TOLD = pytest.mark.parametrize("scenario", DEFAULT, ids=lambda scenario: scenario.name)
ALL = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
SEEDS = range(1, 30)


@ALL
def test_a_seed_makes_one_plan_and_two_seeds_make_two(scenario: Scenario) -> None:
    assert scenario.plan(3).hash() == scenario.plan(3).hash()
    assert scenario.plan(3).hash() != scenario.plan(4).hash()


@TOLD
def test_every_plan_creates_moves_cancels_and_readdresses_close_to_the_due_time(scenario: Scenario) -> None:
    for seed in SEEDS:
        plan = scenario.plan(seed)
        due = {op.event: op.due_s for op in plan.operations if op.do == "create_event" and op.due_s is not None}
        close = {op.do for op in plan.operations if CLOSE_S[0] - 0.001 <= due[op.event] - op.at_s <= CLOSE_S[1] + 0.001}
        assert close >= {"create_event", "move_event", "cancel_event", "leave_event", "change_address"}, f"seed {seed}"


@ALL
def test_a_client_changes_an_event_only_after_it_created_it_and_before_it_is_due(scenario: Scenario) -> None:
    for seed in SEEDS:
        created: dict[tuple[str | None, int], float] = {}
        due: dict[tuple[str | None, int], float] = {}
        operations = scenario.plan(seed).operations
        assert all(earlier.at_s <= later.at_s for earlier, later in pairwise(operations))
        for op in operations:
            subject = op.kind, op.event
            if op.do in {"create_event", "begin"}:
                created[subject] = op.at_s
            else:
                assert created[subject] < op.at_s < due[subject], f"seed {seed}: {op}"
            if op.due_s is not None:
                assert op.due_s > op.at_s or scenario.name == "late_event"
                due[subject] = op.due_s


@TOLD
def test_nothing_falls_due_near_the_full_second_at_which_pollers_look(scenario: Scenario) -> None:
    for seed in SEEDS:
        dues = [op.due_s for op in scenario.plan(seed).operations if op.due_s is not None]
        assert all(WITHIN_SECOND_S[0] <= due % 1 <= WITHIN_SECOND_S[1] for due in dues)


def test_something_falls_due_while_every_server_is_down_and_something_is_called_off_then() -> None:
    downtime = next(scenario for scenario in SCENARIOS if scenario.name == "downtime")
    (fault,) = downtime.faults
    for seed in SEEDS:
        operations = downtime.plan(seed).operations
        assert any(op.due_s and op.at_s < fault.inject_s < op.due_s < fault.heal_s for op in operations)
        assert any(op.do == "cancel_event" and fault.inject_s < op.at_s < fault.heal_s for op in operations)


@ALL
def test_a_stored_plan_is_the_plan_again(scenario: Scenario, tmp_path: Path) -> None:
    plan = scenario.plan(3)
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_json()))

    again = named(str(tmp_path / "plan.json")).plan(99)

    assert again.hash() == plan.hash()


def test_a_crowd_knows_nobody_of_the_other_client_and_is_created_before_it_is_reminded() -> None:
    events = crowds(Random(1), events=20, people=30, created_s=(0.2, 2.0), due_s=(2.0, 4.0))

    assert len({event.event for event in events}) == 20
    assert all(len(set(event.users)) == 30 for event in events)
    mine, yours = ({user for event in events if event.client == client for user in event.users} for client in (0, 1))
    assert not mine & yours
    assert len(mine | yours) <= 2 * TOWN
    assert all(event.due_s is not None and event.at_s < event.due_s <= 4.0 for event in events)
    assert [event.at_s for event in events] == sorted(event.at_s for event in events)


def test_a_million_is_a_million_keys_and_for_nobody_who_did_not_name_it() -> None:
    (million,) = CAPACITY
    plan = million.plan(1)

    assert len({(event.event, user) for event in plan.operations for user in event.users}) == 1_000_000
    assert all(event.due_s is not None and event.at_s < event.due_s for event in plan.operations)
    assert million not in SCENARIOS
    assert million.name in names() and named(million.name) is million


def test_a_file_that_is_no_plan_is_bad_usage_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"scenario": "calm"}')

    with pytest.raises(BadUsage, match="is no plan"):
        named(str(tmp_path / "other.json"))
    with pytest.raises(BadUsage, match="cannot be read"):
        named(str(tmp_path / "missing.json"))
