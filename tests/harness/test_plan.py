"""Plans: repeatable for a seed, and with the operations that a scenario is about."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from duetime.errors import BadUsage
from duetime.harness.plan.catalogue import CAPACITY, DEFAULT, FULL, PRODUCTION
from duetime.harness.plan.lookup import named, names
from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import CLOSE_S, USERS_PER_CLIENT, WITHIN_SECOND_S, large_events

EACH_DEFAULT = pytest.mark.parametrize("scenario", DEFAULT, ids=lambda scenario: scenario.name)
EACH = pytest.mark.parametrize("scenario", [*FULL, *PRODUCTION], ids=lambda scenario: scenario.name)
SEEDS = range(1, 30)


@EACH
def test_a_seed_makes_one_plan_and_two_seeds_make_two(scenario: Scenario) -> None:
    assert scenario.plan(3).hash() == scenario.plan(3).hash()
    assert scenario.plan(3).hash() != scenario.plan(4).hash()


@EACH_DEFAULT
def test_every_plan_creates_moves_cancels_and_changes_addresses_close_to_the_due_time(scenario: Scenario) -> None:
    for seed in SEEDS:
        plan = scenario.plan(seed)
        due = {op.event: op.due_s for op in plan.operations if op.do == "create_event" and op.due_s is not None}
        close = {op.do for op in plan.operations if CLOSE_S[0] - 0.001 <= due[op.event] - op.at_s <= CLOSE_S[1] + 0.001}
        assert close >= {"create_event", "move_event", "cancel_event", "leave_event", "change_address"}, f"seed {seed}"


@EACH
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


@EACH_DEFAULT
def test_nothing_falls_due_near_the_full_second_at_which_pollers_poll(scenario: Scenario) -> None:
    for seed in SEEDS:
        dues = [op.due_s for op in scenario.plan(seed).operations if op.due_s is not None]
        assert all(WITHIN_SECOND_S[0] <= due % 1 <= WITHIN_SECOND_S[1] for due in dues)


def test_during_the_downtime_a_notification_falls_due_and_another_is_cancelled() -> None:
    downtime = named("downtime")
    (fault,) = downtime.faults
    for seed in SEEDS:
        operations = downtime.plan(seed).operations
        assert any(op.due_s and op.at_s < fault.inject_s < op.due_s < fault.heal_s for op in operations)
        assert any(op.do == "cancel_event" and fault.inject_s < op.at_s < fault.heal_s for op in operations)


@EACH
def test_a_stored_plan_can_be_replayed(scenario: Scenario, tmp_path: Path) -> None:
    plan = scenario.plan(3)
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_json()))

    replayed = named(str(tmp_path / "plan.json")).plan(99)

    assert replayed == plan
    assert replayed.hash() == plan.hash()


def test_large_events_share_no_user_between_clients_and_are_created_before_they_are_due() -> None:
    events = large_events(Random(1), events=20, people=30, created_s=(0.2, 2.0), due_s=(2.0, 4.0))

    assert len({event.event for event in events}) == 20
    assert all(len(set(event.users)) == 30 for event in events)
    users_0, users_1 = (
        {user for event in events if event.client == client for user in event.users} for client in (0, 1)
    )
    assert not users_0 & users_1
    assert len(users_0 | users_1) <= 2 * USERS_PER_CLIENT
    assert all(event.due_s is not None and event.at_s < event.due_s <= 4.0 for event in events)
    assert [event.at_s for event in events] == sorted(event.at_s for event in events)


def test_the_million_scenario_schedules_a_million_keys_and_runs_only_when_named() -> None:
    (million,) = CAPACITY
    plan = million.plan(1)

    assert len({(event.event, user) for event in plan.operations for user in event.users}) == 1_000_000
    assert all(event.due_s is not None and event.at_s < event.due_s for event in plan.operations)
    assert million not in FULL
    assert million.name in names() and named(million.name) is million


def test_a_file_that_is_not_a_plan_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"scenario": "calm"}')

    with pytest.raises(BadUsage, match="is not a plan"):
        named(str(tmp_path / "other.json"))
    with pytest.raises(BadUsage, match="cannot be read"):
        named(str(tmp_path / "missing.json"))
