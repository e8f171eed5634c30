"""How often a plan is run, and when it is decided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from duetime.harness.plan.plan import Plan
from duetime.shrink.trials import OutOfBudget, Rate, Trials
from tests.shrink.fake_runs import AT_ONCE, MISSED, FakeRuns, Forgetful, planned

CALM = planned("calm")
A, B, C, D = (replace(CALM, seed=seed) for seed in range(4))


def trials(runs: FakeRuns, *, shows: int = 2, repeats: int = 3, budget_s: float = 1e9) -> Trials:
    return Trials(
        runs, MISSED, Forgetful(), shows=shows, repeats=repeats, at_once=AT_ONCE, budget_s=budget_s, clock=runs.clock
    )


def only(*failing: Plan) -> FakeRuns:
    return FakeRuns(lambda plan: plan in failing)


def test_the_repeats_of_one_plan_are_side_by_side() -> None:
    runs = only(A)

    assert trials(runs).first([A], "") == 0
    assert [len(batch) for batch in runs.batches] == [3]


def test_several_plans_begin_with_a_run_each_and_the_first_that_holds_wins() -> None:
    runs = only(B, C)

    assert trials(runs).first([A, B, C], "") == 1
    assert runs.batches[0][:3] == [A, B, C]
    assert trials(only()).first([A, B, C], "") is None


def test_two_failures_in_three_are_enough_and_a_single_one_is_not() -> None:
    outcomes = iter([True, False, True])
    assert trials(FakeRuns(lambda _plan: next(outcomes))).first([A], "") == 0
    outcomes = iter([True, False, False])
    assert trials(FakeRuns(lambda _plan: next(outcomes))).first([A], "") is None
    outcomes = iter([False, False, True])
    assert trials(FakeRuns(lambda _plan: next(outcomes)), shows=1).first([A], "") == 0


def test_slots_that_are_left_are_for_what_is_asked_next() -> None:
    runs = only(A)
    trying = trials(runs)
    trying.spare = [C, D]

    assert trying.first([B], "") is None
    assert trying.first([C], "") is None

    assert runs.batches[0] == [B, B, B, C, D]
    assert runs.plans.count(C) <= 3
    assert len(runs.batches) == 2


def test_what_is_decided_is_not_run_again() -> None:
    runs = only(A)
    trying = trials(runs)
    trying.first([B, A], "")
    made = len(runs.batches)

    assert trying.first([B, A], "") == 1
    assert len(runs.batches) == made


def test_the_time_of_a_batch_is_learned_and_no_batch_begins_that_would_end_too_late() -> None:
    runs = only()
    trying = trials(runs, budget_s=60)
    first_s = trying.expected_s([A])
    trying.first([A], "")

    assert trying.expected_s([A]) < first_s
    with pytest.raises(OutOfBudget):
        for plan in (B, C, D):
            trying.first([plan], "")
    assert runs.now_s <= 60


def test_the_rate_counts_the_runs_that_proved_nothing() -> None:
    outcomes = iter([True, None, False])
    trying = trials(FakeRuns(lambda _plan: next(outcomes)))

    rate = trying.measure(A, 3, step="")

    assert rate == Rate(1, 3, 1)
    assert str(rate) == "1 of 3 runs, 1 of them unknown"
    assert trying.rate(A, since=1) == Rate(0, 2, 1)
