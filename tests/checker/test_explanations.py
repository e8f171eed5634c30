"""The explanation of each kind of violation, and the summary of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from duetime.checker import VIOLATIONS, Results, check, judge_history
from duetime.checker.explain import FIXES, LOST_COMMIT, LOST_MESSAGE
from duetime.checker.wording import FAULTS, duration
from duetime.faults.fault import FAULT_KINDS
from duetime.history import Closed, RecordedPlan, assemble
from tests.checker.small_histories import Record, cancelled, delivery, fail, fault, invoke, numbered, scheduled

REMINDER = "event-reminder:1003:10030/1"
PROFILE = {"early_tolerance_s": 0.05, "lateness_limit_s": 2.0, "in_flight_allowance_s": 0.5}
MISSED = (
    "It was not delivered by the end of the run (21.4 s). No store of the design holds it any more. " + FIXES["missed"]
)


def explained(history: list[Record], *deliveries: Record, **rest: Any) -> list[str]:
    results = judged(history, *deliveries, **rest)
    return [violation.explanation for violation in results.violations]


def judged(
    history: list[Record],
    *deliveries: Record,
    faults: Sequence[Record] = (),
    recovery_s: float = 0.0,
    durable_as: str = "database",
    **rest: Any,
) -> Results:
    plan = {
        "profile": {**PROFILE, "recovery_budget_s": {"kill": recovery_s}},
        "started": {"mono_ns": 0},
        "guarantees": {"as_durable_as": durable_as},
    }
    return check(numbered(history), deliveries=deliveries, faults=faults, closed_at_s=21.4, plan=plan, **rest)


def test_a_missed_notification_is_explained_by_its_times_the_fault_and_where_it_is_now() -> None:
    kill_all = [{**line, "target": "all"} for line in fault(inject_s=5.2, healed_s=10.8)]

    explanations = explained(
        scheduled(REMINDER, due_s=5.4, at_s=3.6),
        faults=kill_all,
        recovery_s=1.0,
        pending={REMINDER: "unacknowledged in the broker; Redis returns it after 1 h."},
    )

    assert explanations == [
        "Missed. Reminder 10030 of event 1003 was acknowledged at 3.7 s and due at 5.4 s. "
        "All workers were down from 5.2 to 10.8 s (plus 1.0 s to recover)"
        ", so with the lateness limit of 2.0 s its deadline was 13.8 s. "
        "It was not delivered by the end of the run (21.4 s). "
        "It is still held: unacknowledged in the broker; Redis returns it after 1 h. " + FIXES["missed"]
    ]


def test_what_the_database_acknowledged_and_lost_is_explained_by_that() -> None:
    failover = fault(kind="failover", inject_s=4.0, healed_s=6.0)
    failover[1] |= {"at_ns": 5_000_000_000, "lost": {"bytes": 100, "since_ns": 4_000_000_000}}

    [during], [before] = (explained(scheduled("a/1", due_s=9.0, at_s=at_s), faults=failover) for at_s in (4.2, 2.0))

    assert during.endswith(f"It was not delivered by the end of the run (21.4 s). {LOST_COMMIT}")
    assert before.endswith(MISSED)


@pytest.mark.parametrize(("durable_as", "explanation"), [("broker", LOST_MESSAGE), ("database", MISSED)])
def test_what_the_broker_acknowledged_and_lost_is_explained_by_that_if_it_was_kept_there(
    durable_as: str, explanation: str
) -> None:
    failover = fault(kind="broker_failover", inject_s=4.0, healed_s=6.0)
    failover[1] |= {"at_ns": 5_000_000_000, "lost": {"bytes": 100, "since_ns": 4_000_000_000}}

    [during] = explained(scheduled("a/1", due_s=9.0, at_s=4.2), faults=failover, durable_as=durable_as)

    assert during.endswith(explanation)


def test_a_fault_that_did_not_move_the_deadline_is_not_given_as_its_reason() -> None:
    explanations = explained(scheduled("a/1", due_s=5.0), faults=fault(kind="pause", inject_s=6.0, healed_s=6.0))

    assert explanations == [
        "Missed. Notification a was acknowledged at 0.1 s and due at 5.0 s. "
        f"Worker-1 was paused from 6.0 to 6.0 s. Its deadline was 7.0 s. {MISSED}"
    ]


def test_several_faults_are_named_in_one_sentence() -> None:
    faults = [*fault("f1", kind="kill", inject_s=5.0, healed_s=6.0), *fault("f2", kind="?", inject_s=6.0, healed_s=7.0)]

    assert explained(scheduled("end-trial:7/3", due_s=5.0), faults=faults) == [
        "Missed. End-trial 7, revision 3, was acknowledged at 0.1 s and due at 5.0 s. "
        "Worker-1 was killed and down from 5.0 to 6.0 s and "
        f"a fault of kind ? was in force on worker-1 from 6.0 to 7.0 s"
        f", so with the lateness limit of 2.0 s its deadline was 9.0 s. {MISSED}"
    ]


def test_a_store_that_was_not_searched_is_not_called_empty() -> None:
    history = assemble(
        RecordedPlan.from_json({"profile": PROFILE}),
        lines={"history.jsonl": enumerate(numbered(scheduled("a/1", due_s=5.0)), start=1)},
        closed=Closed(60 * 10**9, None, workers_alive=True),
    )

    assert "The design's store was not searched." in judge_history(history).explanation


@pytest.mark.parametrize(
    ("again_s", "when"), [(5.1, "100 ms later"), (5.0, "less than 1 ms later"), (17.25, "at 17.2 s")]
)
def test_a_duplicate_is_explained_by_both_deliveries(again_s: float, when: str) -> None:
    again = delivery("a/1", at_s=again_s, worker="worker-2")

    assert explained(scheduled("a/1", due_s=5.0), delivery("a/1", at_s=5.0), again) == [
        "Duplicate. Notification a was acknowledged at 0.1 s and due at 5.0 s. "
        f"It was delivered by worker-1 at 5.0 s and again {when} by worker-2. {FIXES['duplicate']}"
    ]


def test_a_stale_delivery_is_explained_by_the_newer_revision() -> None:
    history = [*scheduled("a/1", due_s=5.0), *scheduled("a/2", due_s=9.0, at_s=3.0)]

    assert explained(history, delivery("a/1", at_s=5.0), delivery("a/2", at_s=9.0)) == [
        "Stale. Notification a was acknowledged at 0.1 s and due at 5.0 s. Revision 2 was acknowledged at 3.1 s. "
        f"It was delivered by worker-1 at 5.0 s, 1.9 s after that; a delivery in flight is allowed 500 ms. "
        f"{FIXES['stale']}"
    ]


@pytest.mark.parametrize(
    ("history", "explanation"),
    [
        ([], "Notification a was never scheduled. It was delivered by worker-1 at 1.0 s."),
        (
            [invoke("schedule", "a/1", due_s=5.0, at_s=0.0), fail("a/1", at_s=0.1)],
            "Notification a was rejected at 0.1 s and due at 5.0 s. It was delivered by worker-1 at 1.0 s.",
        ),
        (
            scheduled("a/1", due_s=0.0, at_s=1.3),
            "Notification a was acknowledged at 1.4 s and due at 0.0 s. "
            "It was delivered by worker-1 at 1.0 s, 300 ms before it was requested.",
        ),
    ],
)
def test_a_phantom_without_a_cancel_is_explained_by_its_schedule_call(history: list[Record], explanation: str) -> None:
    elsewhere = [*scheduled("b/1", due_s=5.0), *history]
    start = {"started": {"mono_ns": 0}}

    phantom = check(
        numbered(elsewhere), deliveries=[delivery("a/1", at_s=1.0), delivery("b/1", at_s=5.0)], plan=start
    ).violations[0]

    assert phantom.explanation == f"Phantom. {explanation} {FIXES['phantom']}"


def test_an_early_delivery_is_explained_by_how_early_it_came() -> None:
    clock = fault(kind="clock", inject_s=4.0, healed_s=None)

    assert explained(scheduled("a/1", due_s=5.0), delivery("a/1", at_s=4.82), faults=clock) == [
        "Early. Notification a was acknowledged at 0.1 s and due at 5.0 s. "
        "The clock of worker-1 was wrong from 4.0 s until the end of the run. "
        f"It was delivered by worker-1 at 4.8 s, 180 ms before it was due. {FIXES['early']}"
    ]


def test_a_late_delivery_is_explained_by_its_deadline() -> None:
    assert explained(scheduled("a/1", due_s=5.0), delivery("a/1", at_s=8.5)) == [
        "Late. Notification a was acknowledged at 0.1 s and due at 5.0 s. Its deadline was 7.0 s. "
        f"It was delivered by worker-1 at 8.5 s, 1.5 s too late. {FIXES['late']}"
    ]


def test_a_delivery_whose_schedule_was_never_answered_is_explained_by_its_request() -> None:
    unanswered = [invoke("schedule", "a/1", due_s=5.0, at_s=0.0)]

    assert explained(unanswered, delivery("a/1", at_s=4.0))[0].startswith(
        "Early. Notification a was requested at 0.0 s and due at 5.0 s; the call was never answered."
    )


def test_every_kind_of_violation_has_a_fix() -> None:
    assert list(FIXES) == list(VIOLATIONS)


def test_every_kind_of_fault_has_its_own_words() -> None:
    assert set(FAULTS) == set(FAULT_KINDS)


@pytest.mark.parametrize(
    ("span_ns", "text"), [(999_999, "less than 1 ms"), (1_000_000, "1 ms"), (10**9, "1.0 s"), (61 * 10**9, "61.0 s")]
)
def test_a_duration_is_in_milliseconds_below_a_second(span_ns: int, text: str) -> None:
    assert duration(span_ns) == text


def test_an_explanation_of_a_phantom_names_the_cancel_the_fault_the_delivery_and_a_fix() -> None:
    results = check(
        numbered([*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=3.0)]),
        deliveries=[delivery("a/1", at_s=5.0)],
        faults=fault(inject_s=4.0, healed_s=6.0),
        closed_at_s=60.0,
    )

    assert results.violations[0].explanation == (
        "Phantom. Notification a was acknowledged at 0.1 s and due at 5.0 s. "
        "Worker-1 was killed and down from 4.0 to 6.0 s. The cancel was acknowledged at 3.1 s. "
        "It was delivered by worker-1 at 5.0 s, 1.9 s after that; a delivery in flight is allowed 500 ms. "
        "Fix: ask the database at delivery time whether the notification is still wanted."
    )
    assert results.violations[0].evidence == [
        "history.jsonl:1", "history.jsonl:2", "history.jsonl:3", "history.jsonl:4", "deliveries.jsonl:1",
        "faults.jsonl:1", "faults.jsonl:2", "faults.jsonl:3", "faults.jsonl:4",
    ]  # fmt: skip


def test_a_summary_counts_each_violation_and_explains_the_most_serious() -> None:
    history = numbered([*scheduled("a/1", due_s=5.0), *scheduled("b/1", due_s=5.0, at_s=0.2)])

    results = check(history, deliveries=[delivery("b/1", at_s=4.0), delivery("b/1", at_s=5.0)], closed_at_s=60.0)

    assert [violation.label for violation in results.violations] == ["early", "duplicate", "missed"]
    assert results.explanation.startswith(
        "1 missed, 1 duplicate, 1 early. For example: Missed. Notification a was acknowledged at 0.1 s"
    )
