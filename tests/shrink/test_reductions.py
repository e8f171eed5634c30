"""What is taken away takes with it what makes no sense alone; what a fault needs is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from duetime.harness.plan.plan import Plan, PlannedFault, PlannedOperation
from duetime.shrink.reductions import (
    objections,
    only_with,
    recipients,
    removable_seconds,
    with_faults,
    with_few,
    with_operations,
    with_recipients,
    without_seconds,
)
from tests.shrink.fake_runs import planned


def created(at_s: float, event: int, *users: int, due_s: float, client: int = 0) -> PlannedOperation:
    return PlannedOperation(at_s=at_s, client=client, do="create_event", event=event, users=users, due_s=due_s)


CREATED = created(1.0, 1, 7, 8, due_s=5.4)
MOVED = PlannedOperation(at_s=2.0, client=0, do="move_event", event=1, due_s=6.4)
LEFT = PlannedOperation(at_s=2.5, client=0, do="leave_event", event=1, users=(8,))
CANCELLED = PlannedOperation(at_s=3.0, client=0, do="cancel_event", event=1)
OTHER = created(1.5, 2, 9, due_s=5.6, client=1)
KILL = PlannedFault(fault="f1", kind="kill", target="all", inject_s=5.2, heal_s=8.6)
CLIENT_KILL = PlannedFault(fault="f2", kind="client_kill", target="client-1", inject_s=1.2, heal_s=2.7)


def plan_of(*faults: PlannedFault, operations: tuple[PlannedOperation, ...] = ()) -> Plan:
    """A plan of these faults and operations, by default of all above."""
    every = operations or (CREATED, OTHER, MOVED, LEFT, CANCELLED)
    budgets: dict[str, float] = {fault.kind: 1.0 for fault in faults}
    whole = planned("calm")
    return replace(
        whole,
        operations=list(every),
        faults=faults,
        required_faults=tuple(sorted(budgets)),
        profile=replace(whole.profile, recovery_budget_s=budgets),
    )


def test_a_change_goes_with_the_operation_that_it_changes() -> None:
    plan = plan_of()

    assert with_operations(plan, [OTHER, MOVED, LEFT, CANCELLED]).operations == [OTHER]
    assert with_operations(plan, [CREATED, CANCELLED]).operations == [CREATED, CANCELLED]


def test_a_guest_who_leaves_has_to_take_part() -> None:
    plan = with_recipients(plan_of(), {((None, 1), 7), ((None, 2), 9)})

    assert LEFT not in plan.operations
    assert MOVED in plan.operations
    assert with_recipients(plan_of(), {((None, 1), 8)}).operations[0].users == (8,)


def test_what_was_rolled_back_can_neither_be_moved_nor_cancelled() -> None:
    rolled_back = replace(CREATED, rolled_back=True)
    plan = plan_of(operations=(rolled_back, OTHER, MOVED))

    assert with_operations(plan, plan.operations).operations == [rolled_back, OTHER]


def test_an_event_keeps_one_recipient() -> None:
    assert recipients(with_recipients(plan_of(), [])) == [((None, 1), 7), ((None, 2), 9)]


def test_the_profile_follows_the_faults() -> None:
    plan = with_faults(plan_of(KILL, CLIENT_KILL), [KILL])

    assert plan.faults == (KILL,)
    assert plan.required_faults == ("kill",)
    assert plan.profile.recovery_budget_s == {"kill": 1.0}
    assert with_faults(plan, []).profile.recovery_budget_s == {}


def test_the_kill_of_a_client_needs_an_operation_of_this_client_in_time() -> None:
    plan = plan_of(CLIENT_KILL)

    assert objections(plan) == frozenset()
    assert objections(with_operations(plan, [CREATED])) == {"f2: no operation of client-1 is committed in time"}
    early = replace(CLIENT_KILL, inject_s=0.2, heal_s=1.4)
    assert objections(plan_of(early)) == {"f2: no operation of client-1 is committed in time"}


def test_a_fault_in_a_delivery_needs_two_and_a_worker_of_some_number_as_many() -> None:
    hit = replace(KILL, target="delivering", inject_s=5.3)
    assert objections(plan_of(hit)) == frozenset()
    alone = created(1.0, 1, 7, due_s=5.4)
    assert objections(plan_of(hit, operations=(alone,))) == {"f1: too few deliveries"}
    second = replace(KILL, target="worker-2")
    assert objections(plan_of(second)) == {"f1: there is no worker-2"}
    assert objections(replace(plan_of(second), workers=2)) == frozenset()


def test_a_fault_of_the_gateway_needs_a_delivery_that_it_affects() -> None:
    refuse = PlannedFault(
        fault="f1", kind="gateway_refuse", target="gateway", inject_s=1.0, heal_s=8.0, only=("event-reminder:2:",)
    )

    assert objections(plan_of(refuse)) == frozenset()
    assert objections(with_operations(plan_of(refuse), [CREATED])) == {"f1: no delivery"}


def test_something_is_scheduled() -> None:
    assert objections(with_operations(plan_of(), [CANCELLED])) == {"nothing is scheduled"}


def test_times_keep_their_order_and_their_distance_from_a_poll() -> None:
    plan = plan_of(KILL)
    short = without_seconds(plan, removable_seconds(plan))

    def times(of: Plan) -> list[float]:
        at_s = [each.at_s for each in of.operations] + [each.due_s or 0.0 for each in of.operations]
        return [*at_s, *(time for fault in of.faults for time in (fault.inject_s, fault.heal_s))]

    before, after = times(plan), times(short)
    assert [round(one % 1, 6) for one in before] == [round(one % 1, 6) for one in after]
    order = [index for _, index in sorted((one, index) for index, one in enumerate(before))]
    assert order == [index for _, index in sorted((one, index) for index, one in enumerate(after))]
    assert max(after) <= max(before) - 4
    assert removable_seconds(short) == []
    assert min(after) >= 0


def test_a_slow_plan_is_shortened_by_its_own_poll_intervals() -> None:
    plan = replace(plan_of(KILL), slow=3.0)

    assert len(removable_seconds(plan)) < len(removable_seconds(replace(plan, slow=1.0))) / 2
    moved = without_seconds(plan, removable_seconds(plan)).faults[0]
    assert (KILL.inject_s - moved.inject_s) % 3 == pytest.approx(0, abs=1e-6)


def test_what_is_due_after_the_run_stays_there() -> None:
    whole = planned("far_flood")
    plan = with_operations(
        whole, [next(each for each in whole.operations if each.due_s == 3600.5), whole.operations[-1]]
    )
    short = without_seconds(plan, removable_seconds(plan))

    assert plan.operations[0].due_s == short.operations[0].due_s == 3600.5
    assert short.last_due_s() < plan.last_due_s()


@pytest.mark.parametrize("scenario", ["crash", "dual_write", "poison", "deploy_too_slow"])
def test_one_notification_alone_has_with_it_what_the_faults_need(scenario: str) -> None:
    plan = planned(scenario)
    last = next(each for each in reversed(plan.operations) if each.do == "create_event")

    alone = only_with(plan, (None, last.event))

    assert last.event in {each.event for each in alone.operations}
    assert objections(alone) == frozenset()
    assert len(alone.operations) <= 4


def test_few_recipients_are_as_many_as_the_faults_need() -> None:
    plan = only_with(planned("crash"), (None, 1999))
    everyone = plan.operations[0].users

    few = with_few(plan, (None, 1999), everyone[3:])

    assert [each.users for each in few.operations] == [(everyone[0], everyone[3])]
    assert with_few(with_faults(plan, []), (None, 1999), everyone[3:]).operations[0].users == everyone[3:4]
