"""The states of obligations, and the conditions for missed."""

from __future__ import annotations

import pytest

from duetime.checker import check
from tests.checker.small_histories import (
    NS,
    Record,
    canary,
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


def state(history: list[Record], *, closed_at_s: float | None = 60.0, faults: list[Record] | None = None) -> str:
    return check(numbered(history), faults=faults or [], closed_at_s=closed_at_s).states["a/1"]


def test_an_acknowledged_notification_that_never_arrives_is_missed() -> None:
    history = [
        invoke("schedule", "a/1", due_s=5.0, at_s=0.0), ok("a/1", at_s=0.1),
        invoke("schedule", "b/1", due_s=5.0, at_s=0.2), info("b/1", at_s=0.9),  # timed out: never acknowledged
    ]  # fmt: skip

    results = check(numbered(history), deliveries=[], closed_at_s=60.0)

    assert results.ops_with("missed") == {"a/1"}
    assert results.outcome == "fail"
    assert results.states == {"a/1": "missed", "b/1": "indeterminate"}


def test_any_delivery_meets_the_obligation_even_an_early_one() -> None:
    results = check(numbered(scheduled("a/1", due_s=5.0)), deliveries=[delivery("a/1", at_s=1.0)], closed_at_s=60.0)

    assert results.states == {"a/1": "delivered"}
    assert results.ops_with("early") == {"a/1"}


def test_a_rejected_schedule_creates_no_obligation() -> None:
    assert state([invoke("schedule", "a/1", due_s=5.0, at_s=0.0), fail("a/1", at_s=0.1)]) == "none_due"


@pytest.mark.parametrize(("closed_at_s", "expected"), [(None, "open"), (7.0 - NS, "open"), (7.0, "missed")])
def test_a_notification_is_missed_only_if_the_history_was_closed_after_its_deadline(
    closed_at_s: float | None, expected: str
) -> None:
    assert state(scheduled("a/1", due_s=5.0), closed_at_s=closed_at_s) == expected


@pytest.mark.parametrize(("called_at_s", "expected"), [(7.0, "none_due"), (7.0 + NS, "missed")])
def test_a_cancel_called_by_the_deadline_removes_the_obligation(called_at_s: float, expected: str) -> None:
    assert state([*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=called_at_s)]) == expected


@pytest.mark.parametrize(("called_at_s", "expected"), [(11.0, "none_due"), (11.0 + NS, "missed")])
def test_a_fault_moves_the_deadline_for_a_cancel_too(called_at_s: float, expected: str) -> None:
    history = [*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=called_at_s)]

    assert state(history, faults=fault(inject_s=6.0, healed_s=10.0)) == expected


def test_an_unanswered_cancel_makes_the_obligation_indeterminate() -> None:
    assert state([*scheduled("a/1", due_s=5.0), invoke("cancel", "a/2", at_s=1.0)]) == "indeterminate"


def test_a_rejected_cancel_changes_nothing() -> None:
    history = [*scheduled("a/1", due_s=5.0), invoke("cancel", "a/2", at_s=1.0), fail("a/2", at_s=1.1)]

    assert state(history) == "missed"


@pytest.mark.parametrize(("returned_at_s", "expected"), [(1.0, "indeterminate"), (1.0 - NS, "missed")])
def test_an_overlapping_earlier_cancel_makes_the_obligation_indeterminate(returned_at_s: float, expected: str) -> None:
    history = [
        invoke("cancel", "a/0", at_s=0.5), invoke("schedule", "a/1", due_s=5.0, at_s=1.0),
        ok("a/0", at_s=returned_at_s), ok("a/1", at_s=1.1),
    ]  # fmt: skip

    assert state(history) == expected


def test_an_earlier_unanswered_schedule_may_replace_a_later_one() -> None:
    history = [invoke("schedule", "a/0", due_s=9.0, at_s=0.0), *scheduled("a/1", due_s=5.0, at_s=1.0)]

    assert state(history) == "indeterminate"


def test_a_cancel_of_another_key_changes_nothing() -> None:
    assert state([*scheduled("a/1", due_s=5.0), *cancelled("b/2", at_s=1.0)]) == "missed"


def test_a_missed_notification_is_stuck_if_a_store_still_holds_it_and_else_lost() -> None:
    history = [op for n, key in enumerate("abc") for op in scheduled(f"{key}/1", due_s=5.0, at_s=n)]
    pending = {"b/1": "row in pending_notifications", "c/1": "delivered, and never deleted"}

    results = check(numbered(history), deliveries=[delivery("c/1", at_s=5.0)], closed_at_s=60.0, pending=pending)

    assert (results.counts["missed"], results.counts["lost"], results.counts["stuck"]) == (2, 1, 1)
    lost, stuck = (violation.explanation for violation in results.violations)
    assert "No store of the design holds it any more." in lost
    assert "It is still held: row in pending_notifications." in stuck


@pytest.mark.parametrize(("closed_at_s", "expected"), [(10.0 - NS, "open"), (10.0, "missed")])
def test_time_in_which_the_harness_was_starved_does_not_count_toward_a_miss(closed_at_s: float, expected: str) -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[canary(0, due_s=6.0, at_s=9.0)],
        closed_at_s=closed_at_s,
    )

    assert results.states["a/1"] == expected
    assert results.outcome == ("fail" if expected == "missed" else "unknown")
