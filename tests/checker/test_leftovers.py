"""What the design's store still has at the end: delivered revisions that will repeat, failed ones, late recoveries."""

from __future__ import annotations

from typing import Any

import pytest

from duetime.checker import Results, check
from duetime.checker.explain import FIXES
from duetime.history import StoredEntry
from tests.checker.small_histories import (
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

HELD = StoredEntry("oban_jobs, executing", "held", 300.0)
FOR_EVER = HELD._replace(back_after_s=None)
AGAIN = StoredEntry("oban_jobs, retryable", "waiting")
FAILED = StoredEntry("oban_jobs, discarded", "failed")
CRASH = fault(inject_s=5.2, healed_s=8.0)
START = {"started": {"mono_ns": 0}}


def judged(
    *deliveries: Record,
    stored: StoredEntry = HELD,
    after_stop: StoredEntry | None = None,
    history: list[Record] | None = None,
    faults: list[Record] | None = None,
    **rest: Any,
) -> Results:
    """A revision that is due at 5 s, delivered by worker-1, and stored at the end of the run, after 21.4 s."""
    return check(
        numbered(history or scheduled("a/1", due_s=5.0)),
        deliveries=deliveries or [delivery("a/1", at_s=5.1)],
        faults=CRASH if faults is None else faults,
        closed_at_s=21.4,
        pending={"a/1": stored},
        after_stop={"a/1": after_stop or stored},
        **{"cut_short": ["worker-2"], "plan": START, **rest},
    )


def test_what_a_killed_worker_delivered_and_the_store_still_holds_will_repeat() -> None:
    results = judged()

    assert (results.outcome, results.states) == ("fail", {"a/1": "will_repeat"})
    assert (results.counts["will_repeat"], results.counts["delivered"]) == (1, 1)
    assert [violation.explanation for violation in results.violations] == [
        "Will repeat. Notification a was acknowledged at 0.1 s and due at 5.0 s. "
        "Worker-1 was killed and down from 5.2 to 8.0 s. "
        "It was delivered by worker-1 at 5.1 s, and is still held: oban_jobs, executing. It comes back after 300 s. "
        + FIXES["will_repeat"]
    ]
    assert results.violations[0].evidence == [
        "history.jsonl:1", "history.jsonl:2", "deliveries.jsonl:1", *(f"faults.jsonl:{n}" for n in (1, 2, 3, 4)),
        "closed.json",
    ]  # fmt: skip
    assert results.explanation.startswith("1 will_repeat. Notification a was acknowledged")


def test_what_waits_again_will_repeat() -> None:
    results = judged(stored=AGAIN)

    assert (results.outcome, results.counts["will_repeat"]) == ("fail", 1)
    assert "It is tried again." in results.explanation


def test_what_the_store_may_never_hand_out_again_makes_the_run_unknown() -> None:
    results = judged(stored=FOR_EVER)

    assert (results.outcome, results.counts["will_repeat"]) == ("unknown", 1)
    assert results.unknown_because == [
        "1 delivered notification was still held, and whether the store hands it out again is not certain: "
        "a/1, oban_jobs, executing"
    ]


def test_what_may_never_repeat_is_no_violation_beside_another_one() -> None:
    history = [*scheduled("a/1", due_s=5.0), *scheduled("b/1", due_s=5.0, at_s=0.2)]

    results = judged(history=history, stored=FOR_EVER)

    assert results.explanation.startswith("1 missed. Notification b")


def test_the_later_look_decides_whether_it_comes_back() -> None:
    assert judged(stored=HELD, after_stop=FOR_EVER).outcome == "unknown"
    assert judged(stored=FOR_EVER, after_stop=AGAIN).outcome == "fail"


def test_a_worker_that_acknowledges_after_the_first_look_leaves_nothing() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=5.1)],
        faults=CRASH,
        closed_at_s=21.4,
        pending={"a/1": HELD},
        after_stop={},
        cut_short=[],
    )

    assert (results.outcome, results.states) == ("pass", {"a/1": "delivered"})


def test_a_worker_that_the_harness_cut_off_is_not_accused() -> None:
    results = judged(faults=[], cut_short=["worker-1"])

    assert (results.outcome, results.counts["will_repeat"]) == ("unknown", 0)
    assert results.unknown_because == [
        "1 delivered notification was still held when the workers were stopped, and worker-1 did not end in an orderly "
        "way, so the records do not show whether it is delivered again: a/1, oban_jobs, executing"
    ]


def test_what_workers_leave_behind_that_ended_in_order_will_repeat() -> None:
    assert judged(faults=[], cut_short=[]).states == {"a/1": "will_repeat"}


def test_without_a_look_after_the_stop_nothing_is_said_about_it() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=5.1)],
        faults=CRASH,
        closed_at_s=21.4,
        pending={"a/1": HELD},
    )

    assert results.outcome == "pass"


@pytest.mark.parametrize(
    ("at_s", "worker", "target", "expected"),
    [
        (5.1, "worker-1", "worker-1", "will_repeat"),
        (7.9, "worker-1", "worker-1", "will_repeat"),  # its gateway wrote the line after its death
        (8.0, "worker-1", "worker-1", "delivered"),  # the next process of this name
        (5.1, "worker-2", "worker-1", "delivered"),
        (5.1, "worker-2", "all", "will_repeat"),
        (5.1, "worker-1", "delivering", "delivered"),  # the record does not say which
    ],
)
def test_only_the_process_that_delivered_counts(at_s: float, worker: str, target: str, expected: str) -> None:
    crash = [{**line, "target": target} for line in CRASH]

    assert judged(delivery("a/1", at_s=at_s, worker=worker), faults=crash).states == {"a/1": expected}


def test_a_fault_that_names_the_worker_that_it_hit_proves_that_it_is_gone() -> None:
    crash = [{**line, "target": "delivering"} for line in CRASH]
    crash[1]["delivery"] = {"worker": "worker-1", "op": "a/1", "phase": "between", "others": []}

    assert judged(faults=crash).states == {"a/1": "will_repeat"}


def test_a_kill_that_was_not_verified_proves_nothing() -> None:
    assert judged(faults=fault(inject_s=5.2, healed_s=8.0, phases=("inject", "heal", "healed"))).states == {
        "a/1": "delivered"
    }


def test_a_worker_that_crashed_is_gone() -> None:
    crashed: dict[str, Any] = {"faults": [], "restarts": [(5_300_000_000, "worker-1", 1)]}

    assert judged(**crashed).states == {"a/1": "will_repeat"}
    assert judged(delivery("a/1", at_s=5.4), **crashed).states == {"a/1": "delivered"}


@pytest.mark.parametrize("kind", ["deploy", "worker_removed"])
def test_a_worker_that_a_deploy_ended_is_gone(kind: str) -> None:
    assert judged(faults=fault(kind=kind, inject_s=5.2, healed_s=8.0)).states == {"a/1": "will_repeat"}
    assert judged(delivery("a/1", at_s=5.2), faults=fault(kind=kind, inject_s=5.2, healed_s=8.0)).states == {
        "a/1": "delivered"
    }


def test_every_delivery_of_it_must_be_of_a_worker_that_is_gone() -> None:
    later = delivery("a/1", at_s=9.0, worker="worker-2")

    assert judged(delivery("a/1", at_s=5.1), later).states == {"a/1": "delivered"}


@pytest.mark.parametrize(
    "later",
    [
        cancelled("a/2", at_s=9.0),
        scheduled("a/2", due_s=10.0, at_s=9.0),
        [invoke("cancel", "a/2", at_s=9.0), info("a/2", at_s=9.5)],
    ],
)
def test_what_was_or_may_be_superseded_is_dropped_by_a_design_that_asks(later: list[Record]) -> None:
    history = [*scheduled("a/1", due_s=5.0), *later]

    results = judged(history=history)

    assert results.states["a/1"] == "delivered"
    assert results.counts["will_repeat"] == 0


def test_a_rejected_cancel_supersedes_nothing() -> None:
    history = [*scheduled("a/1", due_s=5.0), invoke("cancel", "a/2", at_s=9.0), fail("a/2", at_s=9.1)]

    assert judged(history=history).states["a/1"] == "will_repeat"


def test_an_unanswered_call_that_was_delivered_will_repeat_too() -> None:
    history = [invoke("schedule", "a/1", due_s=5.0, at_s=0.0), *scheduled("b/1", due_s=5.0, at_s=0.2)]

    results = judged(delivery("a/1", at_s=5.1), delivery("b/1", at_s=5.1), history=history)

    assert results.states == {"a/1": "will_repeat", "b/1": "delivered"}


def test_what_failed_in_between_does_not_repeat() -> None:
    assert judged(after_stop=FAILED).states == {"a/1": "delivered"}
    assert judged(stored=FAILED).outcome == "pass"


def test_a_missed_notification_that_the_store_gave_up_is_failed() -> None:
    history = [one for n, key in enumerate("abc") for one in scheduled(f"{key}/1", due_s=5.0, at_s=n)]

    results = check(
        numbered(history),
        deliveries=[delivery("b/1", at_s=5.0)],
        closed_at_s=60.0,
        pending={"a/1": FAILED, "b/1": FAILED},
    )

    counts = {name: results.counts[name] for name in ("missed", "failed", "lost", "stuck")}
    assert counts == {"missed": 2, "failed": 1, "lost": 1, "stuck": 0}
    assert "It failed, and is not tried again: oban_jobs, discarded." in results.violations[0].explanation


def test_a_store_that_cannot_be_listed_makes_a_run_unknown_only_if_a_fault_may_have_left_something() -> None:
    def outcome(at_s: float, **rest: Any) -> Results:
        history = numbered(scheduled("a/1", due_s=5.0))
        found = {"deliveries": [delivery("a/1", at_s=at_s)], "faults": CRASH, **rest}
        return check(history, closed_at_s=21.4, unlisted="a queue shows no messages.", plan=START, **found)

    hit = outcome(5.1)
    assert hit.unknown_because == [
        "the design's store cannot be listed (a queue shows no messages), and a fault may have left a/1 in it, which "
        "worker-1 delivered at 5.1 s"
    ]
    assert outcome(5.1, faults=fault(inject_s=5.7, healed_s=8.0)).outcome == "pass"
    assert outcome(5.1, faults=[]).outcome == "pass"
    assert outcome(5.1, faults=fault(kind="gateway_slow", inject_s=5.0, healed_s=6.0)).outcome == "pass"
    # It came back, so nothing is left of it.
    assert not outcome(5.1, deliveries=[delivery("a/1", at_s=5.1), delivery("a/1", at_s=9.0)]).unknown_because


def test_of_what_a_fault_measured_only_what_was_in_flight_may_be_left() -> None:
    crash = [dict(line) for line in CRASH]
    others = [{"op": "b/1", "phase": "before"}, {"op": "c/1", "phase": "between"}]
    crash[1]["delivery"] = {"worker": "worker-1", "op": "a/1", "phase": "between", "others": others}

    def unknown(op: str) -> bool:
        history = numbered(scheduled(op, due_s=5.0))
        results = check(
            history, deliveries=[delivery(op, at_s=5.1)], faults=crash, closed_at_s=21.4, unlisted="no messages"
        )
        return results.outcome == "unknown"

    assert [unknown(op) for op in ("a/1", "b/1", "c/1", "d/1")] == [True, False, True, False]


def missed_after(recovers_within_s: float, **rest: Any) -> Results:
    plan = {**START, "guarantees": {"recovers_within_s": recovers_within_s}}
    found: dict[str, Any] = {"faults": CRASH, "pending": {"a/1": HELD}, **rest}
    return check(numbered(scheduled("a/1", due_s=5.0)), deliveries=[], closed_at_s=21.4, plan=plan, **found)


def test_a_notification_whose_documented_recovery_ends_after_the_run_is_open() -> None:
    results = missed_after(300.0)

    assert (results.outcome, results.states) == ("unknown", {"a/1": "open"})
    assert results.unknown_because[0] == (
        "1 required notification has not arrived and may still: what a dead worker held is promised within 300 s, and "
        "the run ended 16.2 s after the fault at 5.2 s; a longer run can be judged"
    )


@pytest.mark.parametrize(
    ("recovers_within_s", "rest"),
    [
        (0.0, {}),
        (16.1, {}),  # the worker was gone at 5.21 s, so the run was long enough
        (300.0, {"pending": {}}),  # nothing is held, so nothing can come back
        (300.0, {"pending": {"a/1": FAILED}}),
        (300.0, {"faults": []}),
        (300.0, {"faults": fault(kind="deploy", inject_s=5.2, healed_s=8.0)}),
        (300.0, {"faults": fault(inject_s=15.0, healed_s=16.0)}),  # after its deadline
    ],
)
def test_a_recovery_time_that_explains_nothing_leaves_it_missed(recovers_within_s: float, rest: dict[str, Any]) -> None:
    assert missed_after(recovers_within_s, **rest).states == {"a/1": "missed"}


def test_a_store_that_cannot_be_listed_may_still_hold_it() -> None:
    assert missed_after(300.0, pending=None, unlisted="no messages").states == {"a/1": "open"}


def test_a_later_acknowledgement_is_no_newer_revision() -> None:
    history = [
        invoke("schedule", "a/0", due_s=4.0, at_s=0.0),
        ok("a/0", at_s=0.1),
        *scheduled("a/1", due_s=5.0, at_s=1),
    ]

    assert judged(delivery("a/0", at_s=4.0), delivery("a/1", at_s=5.1), history=history).states == {
        "a/0": "delivered",
        "a/1": "will_repeat",
    }
