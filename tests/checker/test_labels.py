"""The labels of a delivery: each rule at its boundary and one nanosecond past it.

Profile: ε = 0.05 s, lateness limit 2 s, in-flight allowance 0.5 s. Acknowledged means 0.1 s after the call.
"""

from __future__ import annotations

import pytest

from duetime.checker import Results, check
from duetime.checker.labels import DeliveryViolation
from tests.checker.small_histories import (
    NS,
    Record,
    cancelled,
    delivery,
    fail,
    fault,
    info,
    invoke,
    numbered,
    ok,
    scheduled,
)

RECOVERY = {"early_tolerance_s": 0.05, "lateness_limit_s": 2.0, "in_flight_allowance_s": 0.5}


def judged(
    history: list[Record], *deliveries: Record, faults: list[Record] | None = None, recovery_s: float = 0
) -> Results:
    plan = {"profile": RECOVERY | {"recovery_budget_s": {"kill": recovery_s}}}
    return check(numbered(history), deliveries=deliveries, faults=faults or [], closed_at_s=60.0, plan=plan)


def labels(results: Results) -> list[tuple[str, ...]]:
    return [(found.label, *found.also) for found in results.labelled]


@pytest.mark.parametrize(
    ("at_s", "label"),
    [(4.95 - NS, "early"), (4.95, "on_time"), (5.0, "on_time"), (7.0, "on_time"), (7.0 + NS, "late")],
)
def test_a_delivery_is_on_time_from_the_early_tolerance_to_the_lateness_limit(at_s: float, label: str) -> None:
    assert labels(judged(scheduled("a/1", due_s=5.0), delivery("a/1", at_s=at_s))) == [(label,)]


@pytest.mark.parametrize(("at_s", "label"), [(1.0, "on_time"), (3.1, "on_time"), (3.1 + NS, "late")])
def test_a_due_time_in_the_past_counts_from_the_acknowledgement(at_s: float, label: str) -> None:
    assert labels(judged(scheduled("a/1", due_s=0.2, at_s=1.0), delivery("a/1", at_s=at_s))) == [(label,)]


def test_a_delivery_that_was_never_scheduled_is_a_phantom() -> None:
    results = judged(scheduled("a/1", due_s=5.0), delivery("a/1", at_s=5.0), delivery("a/2", at_s=5.0))

    assert labels(results) == [("on_time",), ("phantom",)]


def test_a_delivered_cancel_is_a_phantom() -> None:
    results = judged([*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=1.0)], delivery("a/2", at_s=5.0))

    assert labels(results) == [("phantom",)]


def test_a_delivery_whose_schedule_was_rejected_is_a_phantom() -> None:
    refused = [invoke("schedule", "a/1", at_s=0.0, due_s=5.0), fail("a/1", at_s=0.1)]

    assert labels(judged(refused, delivery("a/1", at_s=5.0))) == [("phantom",)]


@pytest.mark.parametrize(("at_s", "label"), [(1.0 - NS, "phantom"), (1.0, "on_time")])
def test_a_delivery_before_its_schedule_call_is_a_phantom(at_s: float, label: str) -> None:
    assert labels(judged(scheduled("a/1", due_s=0.0, at_s=1.0), delivery("a/1", at_s=at_s))) == [(label,)]


@pytest.mark.parametrize(
    ("at_s", "label"),
    [(5.1, "on_time"), (5.1 + NS, "zombie"), (5.6, "zombie"), (5.6 + NS, "phantom")],
)
def test_a_cancelled_notification_may_be_in_flight_for_the_allowance(at_s: float, label: str) -> None:
    history = [*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=5.0)]

    assert labels(judged(history, delivery("a/1", at_s=at_s))) == [(label,)]


@pytest.mark.parametrize(("at_s", "label"), [(5.6, "zombie"), (5.6 + NS, "stale")])
def test_an_older_revision_may_be_in_flight_for_the_allowance(at_s: float, label: str) -> None:
    history = [*scheduled("a/1", due_s=5.0), *scheduled("a/2", due_s=9.0, at_s=5.0)]

    results = judged(history, delivery("a/1", at_s=at_s), delivery("a/2", at_s=9.0))

    assert labels(results) == [(label,), ("on_time",)]


@pytest.mark.parametrize(("at_s", "label"), [(9.6, "zombie"), (9.6 + NS, "phantom")])
def test_time_under_a_fault_does_not_count_toward_the_in_flight_allowance(at_s: float, label: str) -> None:
    history = [*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=5.0)]

    results = judged(history, delivery("a/1", at_s=at_s), faults=fault(inject_s=5.2, healed_s=9.2))

    assert results.labelled[0].label == label


def test_a_cancel_that_overlaps_its_schedule_may_take_effect_first() -> None:
    history = [
        invoke("schedule", "a/1", at_s=0.0, due_s=5.0), invoke("cancel", "a/2", at_s=0.1),
        ok("a/1", at_s=0.1), ok("a/2", at_s=0.2),
    ]  # fmt: skip

    assert labels(judged(history, delivery("a/1", at_s=5.0))) == [("on_time",)]


def test_a_cancel_called_one_nanosecond_after_the_acknowledgement_is_surely_later() -> None:
    history = [*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=0.1 + NS)]

    assert labels(judged(history, delivery("a/1", at_s=5.0))) == [("phantom",)]


def test_an_unanswered_cancel_cancels_nothing() -> None:
    history = [*scheduled("a/1", due_s=5.0), invoke("cancel", "a/2", at_s=1.0), info("a/2", at_s=2.0)]

    assert labels(judged(history, delivery("a/1", at_s=5.0))) == [("on_time",)]


def test_a_revision_rescheduled_and_later_cancelled_is_stale() -> None:
    history = [*scheduled("a/1", due_s=5.0), *scheduled("a/2", due_s=9.0, at_s=1.0), *cancelled("a/3", at_s=2.0)]

    assert labels(judged(history, delivery("a/1", at_s=5.0))) == [("stale",)]


def test_the_second_delivery_is_the_duplicate_in_any_order_of_the_lines() -> None:
    results = judged(scheduled("a/1", due_s=5.0), delivery("a/1", at_s=6.0), delivery("a/1", at_s=5.0))

    assert labels(results) == [("duplicate",), ("on_time",)]


def test_of_two_deliveries_in_the_same_nanosecond_the_later_line_is_the_duplicate() -> None:
    results = judged(scheduled("a/1", due_s=5.0), delivery("a/1", at_s=5.0), delivery("a/1", at_s=5.0))

    assert labels(results) == [("on_time",), ("duplicate",)]


def test_a_delivery_that_breaks_several_rules_keeps_all_labels_in_order() -> None:
    history = [*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=5.0)]

    results = judged(history, delivery("a/1", at_s=4.0), delivery("a/1", at_s=9.0))

    assert labels(results) == [("early",), ("phantom", "duplicate", "late")]


def test_a_duplicate_inside_the_allowance_is_still_a_duplicate() -> None:
    history = [*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=5.1)]

    results = judged(history, delivery("a/1", at_s=5.0), delivery("a/1", at_s=5.3))

    assert labels(results) == [("on_time",), ("duplicate", "zombie")]


def test_even_a_late_delivery_of_an_unanswered_schedule_is_recovered() -> None:
    unanswered = [invoke("schedule", "a/1", at_s=0.0, due_s=5.0)]

    assert labels(judged(unanswered, delivery("a/1", at_s=50.0))) == [("recovered",)]


def test_an_unanswered_schedule_may_be_delivered_neither_twice_nor_early() -> None:
    unanswered = [invoke("schedule", "a/1", at_s=0.0, due_s=5.0), info("a/1", at_s=1.0)]

    results = judged(unanswered, delivery("a/1", at_s=4.0), delivery("a/1", at_s=5.0))

    assert labels(results) == [("early", "recovered"), ("duplicate", "recovered")]


@pytest.mark.parametrize(
    ("at_s", "label"), [(7.0, "on_time"), (7.0 + NS, "excused"), (12.0, "excused"), (12.0 + NS, "late")]
)
def test_a_fault_and_its_recovery_budget_excuse_lateness(at_s: float, label: str) -> None:
    faults = fault(inject_s=5.5, healed_s=9.5)

    results = judged(scheduled("a/1", due_s=5.0), delivery("a/1", at_s=at_s), faults=faults, recovery_s=1.0)

    assert labels(results) == [(label,)]


def test_overlapping_faults_excuse_their_common_time_once() -> None:
    faults = [*fault("f1", inject_s=5.0, healed_s=8.0), *fault("f2", inject_s=6.0, healed_s=9.0)]
    history = [*scheduled("a/1", due_s=5.0), *scheduled("b/1", due_s=5.0)]

    results = judged(history, delivery("a/1", at_s=11.0), delivery("b/1", at_s=11.0 + NS), faults=faults)

    assert labels(results) == [("excused",), ("late",)]


def test_an_unhealed_fault_excuses_to_the_end_and_makes_the_run_unknown() -> None:
    results = judged(scheduled("a/1", due_s=5.0), delivery("a/1", at_s=50.0), faults=fault(inject_s=5.5, healed_s=None))

    assert labels(results) == [("excused",)]
    assert results.unknown_because == ["fault f1 (kill worker-1) was never verified as healed"]


def test_a_fault_injected_again_excuses_until_it_is_healed_again() -> None:
    faults = [*fault(inject_s=4.0, healed_s=5.5), *fault(inject_s=6.0, healed_s=None)]

    results = judged(scheduled("a/1", due_s=5.0), delivery("a/1", at_s=50.0), faults=faults)

    assert labels(results) == [("excused",)]


def test_the_lines_of_a_fault_are_sorted_by_time() -> None:
    faults = fault(inject_s=4.0, healed_s=6.0)[::-1]

    results = judged(scheduled("a/1", due_s=5.0), delivery("a/1", at_s=8.0 + NS), faults=faults)

    assert labels(results) == [("late",)]


@pytest.mark.parametrize("violation", ["duplicate", "early"])
def test_no_fault_excuses_a_duplicate_or_an_early_delivery(violation: DeliveryViolation) -> None:
    faults = fault(inject_s=0.0, healed_s=50.0)
    twice = [delivery("a/1", at_s=5.0), delivery("a/1", at_s=6.0)]
    deliveries = twice if violation == "duplicate" else [delivery("a/1", at_s=4.0)]

    assert judged(scheduled("a/1", due_s=5.0), *deliveries, faults=faults).ops_with(violation) == {"a/1"}
