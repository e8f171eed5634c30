"""The search: the smallest result, failures of chance, the budget, an interruption."""

from __future__ import annotations

from random import Random

import pytest

from duetime.harness.plan.plan import Plan
from duetime.shrink.reductions import objections
from tests.shrink.fake_runs import FakeRuns, Forgetful, due_while_down, planned, searching


def lost_op(plan: Plan) -> str:
    """A notification of an unchanged event that is due while all workers are down."""
    changed = {each.event for each in plan.operations if each.do != "create_event"}
    lost = next(
        each
        for each in plan.operations
        if each.event not in changed and each.due_s and plan.faults[0].inject_s <= each.due_s <= plan.faults[0].heal_s
    )
    return f"event-reminder:{lost.event}:{lost.users[0]}/1"


def test_one_notification_and_one_fault_are_left_of_a_downtime() -> None:
    plan, runs = planned("downtime"), FakeRuns(due_while_down)
    search = searching(runs, plan, [lost_op(plan)])

    assert search.run() == "minimal"

    best = search.best
    assert (len(best.operations), len(best.operations[0].users), len(best.faults), best.workers) == (1, 1, 1, 1)
    assert due_while_down(best)
    assert runs.now_s < 150


def test_without_a_guess_it_finds_the_same_by_halves() -> None:
    plan, runs = planned("downtime"), FakeRuns(due_while_down)
    search = searching(runs, plan)

    assert search.run() == "minimal"

    assert len(search.best.operations) == len(search.best.faults) == 1
    assert len(runs.batches) < 30


@pytest.mark.parametrize("scenario", ["downtime", "crash", "dual_write", "move_and_cancel", "poison", "use_cases"])
@pytest.mark.parametrize("seed", range(3))
def test_no_candidate_makes_less_sense_than_the_whole_and_the_result_cannot_be_reduced(
    scenario: str, seed: int
) -> None:
    plan, random = planned(scenario), Random(seed)
    needed = random.sample(list(plan.operations), 3)
    needed_events = {(each.kind, each.event) for each in needed}
    runs = FakeRuns(lambda tried: needed_events <= {(each.kind, each.event) for each in tried.operations})
    search = searching(runs, plan)

    assert search.run() == "minimal"

    assert all(objections(tried) <= objections(plan) for tried in runs.plans)
    assert all(_can_be_carried_out(tried) for tried in runs.plans)
    assert {(each.kind, each.event) for each in search.best.operations} == needed_events
    assert search.best.faults == ()
    assert search.best.workers == 1


def _can_be_carried_out(plan: Plan) -> bool:
    """Return True if every change of an event or a follow-up comes after what it changes."""
    begun: set[tuple[str | None, int]] = set()
    for each in plan.operations:
        if each.do in ("create_event", "begin"):
            if not each.rolled_back:
                begun.add((each.kind, each.event))
        elif each.do != "migrate" and (each.kind, each.event) not in begun:
            return False
    in_order = [each.at_s for each in plan.operations] == sorted(each.at_s for each in plan.operations)
    kinds = {fault.kind for fault in plan.faults}
    return in_order and set(plan.required_faults) == set(plan.profile.recovery_budget_s) == kinds


def test_a_fault_that_two_violations_need_stays_and_the_other_goes() -> None:
    plan = planned("dual_write")
    runs = FakeRuns(lambda tried: any(fault.fault == "f2" for fault in tried.faults))
    search = searching(runs, plan)

    search.run()

    assert [fault.fault for fault in search.best.faults] == ["f2"]
    assert [each.client for each in search.best.operations] == [1]


def test_of_two_faults_the_one_that_is_needed_is_found_at_once() -> None:
    plan = planned("dual_write")
    in_time = [each for each in plan.operations if each.client == 0 and 2.0 <= each.at_s < 3.5 and not each.rolled_back]
    ops = [f"event-reminder:{each.event}:{each.users[0]}/1" for each in in_time]
    runs = FakeRuns(lambda tried: any(fault.fault == "f1" for fault in tried.faults))
    search = searching(runs, plan, ops)

    assert search.run() == "minimal"
    assert len(search.best.operations) == len(search.best.faults) == 1
    assert len(runs.batches) <= 4


def test_a_failure_of_chance_is_shrunk_and_its_rate_is_known() -> None:
    random, plan = Random(4), planned("downtime")
    runs = FakeRuns(lambda tried: due_while_down(tried) and random.random() < 1 / 3)
    search = searching(runs, plan, [lost_op(plan)], repeats=9)

    assert search.run() == "minimal"
    rate = search.confirm(40)

    assert len(search.best.faults) == 1
    assert len(search.best.operations) < 5
    assert rate.runs == 40
    assert 5 <= rate.shown <= 22


def test_what_never_fails_again_is_said_to_be_rare_and_not_shrunk() -> None:
    plan, runs = planned("downtime"), FakeRuns(lambda _plan: False)
    search = searching(runs, plan, [lost_op(plan)])

    assert search.run() == "not seen again"
    assert search.best == search.whole
    assert str(search.rate_of_whole) == "0 of 3 runs"


def test_an_unknown_run_does_not_count_as_failing() -> None:
    plan = planned("downtime")
    runs = FakeRuns(lambda tried: True if len(tried.operations) == len(plan.operations) else None)
    search = searching(runs, plan, [lost_op(plan)])

    assert search.run() == "minimal"
    assert len(search.best.operations) == len(plan.operations)


def test_a_plan_that_fails_once_in_three_is_not_kept_where_the_whole_fails_always() -> None:
    plan = planned("downtime")
    seen = iter([True] * 3)

    def fails(tried: Plan) -> bool:
        return len(tried.operations) == len(plan.operations) or next(seen, False)

    search = searching(FakeRuns(fails), plan)
    search.run()

    assert len(search.best.operations) >= len(plan.operations) // 2


def test_out_of_budget_it_ends_in_time_with_the_best_so_far() -> None:
    plan, runs = planned("downtime"), FakeRuns(due_while_down)
    search = searching(runs, plan, budget_s=150)

    assert search.run() == "out of budget"

    assert runs.now_s <= 150
    assert due_while_down(search.best)
    assert len(search.best.operations) < len(plan.operations)


def test_an_interruption_keeps_the_best_and_the_next_search_repeats_no_run() -> None:
    plan, memory = planned("downtime"), Forgetful()
    kept: list[Plan] = []
    runs = FakeRuns(due_while_down, stop_after=6)
    search = searching(runs, plan, memory=memory, on_better=kept.append)

    with pytest.raises(KeyboardInterrupt):
        search.run()

    assert kept[-1] == search.best
    assert due_while_down(kept[-1])
    continued = FakeRuns(due_while_down)
    again = searching(continued, plan, memory=memory)
    assert again.run() == "minimal"
    uninterrupted = FakeRuns(due_while_down)
    whole = searching(uninterrupted, plan)
    whole.run()
    assert again.best == whole.best
    assert len(runs.batches) + len(continued.batches) == len(uninterrupted.batches)


def test_a_finished_search_is_repeated_without_a_run() -> None:
    plan, memory = planned("crash"), Forgetful()
    searching(FakeRuns(lambda tried: bool(tried.faults)), plan, memory=memory).run()

    runs = FakeRuns(lambda tried: bool(tried.faults))
    assert searching(runs, plan, memory=memory).run() == "minimal"
    assert runs.batches == []


def test_the_slots_are_full_and_never_overfull() -> None:
    runs = FakeRuns(due_while_down)
    searching(runs, planned("downtime")).run()

    assert max(map(len, runs.batches)) == 5
    assert sum(map(len, runs.batches)) / len(runs.batches) > 2
