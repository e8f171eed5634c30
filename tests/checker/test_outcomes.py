"""Pass, fail and unknown: when a verdict is worth nothing, and how an accusation reads."""

from __future__ import annotations

from typing import Any

import pytest

from duetime.checker import Results, check
from duetime.history.records import nanoseconds
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
    scheduled,
)

KILL = {"fault": "f1", "kind": "kill", "target": "worker-1"}


def good_run(*, faults: list[Record] | None = None, closed_at_s: float | None = 60.0, **plan: Any) -> Results:
    history = numbered(scheduled("a/1", due_s=5.0))
    return check(
        history, deliveries=[delivery("a/1", at_s=5.0)], faults=faults or [], closed_at_s=closed_at_s, plan=plan
    )


def test_a_run_that_kept_its_promises_passes_and_needs_no_explanation() -> None:
    results = good_run(planned={"schedule": 1, "cancel": 0})

    assert (results.outcome, results.unknown_because, results.explanation) == ("pass", [], "")


def test_every_label_and_every_state_is_counted_even_when_there_is_none() -> None:
    counts = good_run().counts

    assert (counts["on_time"], counts["delivered"]) == (1, 1)
    assert {"phantom", "stale", "duplicate", "early", "late", "recovered", "zombie", "excused", "on_time"} <= set(
        counts
    )
    assert {"delivered", "missed", "lost", "stuck", "indeterminate", "none_due", "open", "unknown_late"} <= set(counts)
    assert sum(counts.values()) == 2


def test_an_open_history_proves_no_promise_kept() -> None:
    assert good_run(closed_at_s=None).unknown_because == [
        "the history was never closed, so more deliveries may still arrive"
    ]


def test_an_open_history_still_proves_a_promise_broken() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)), deliveries=[delivery("a/1", at_s=5.0), delivery("a/1", at_s=5.1)]
    )

    assert (results.outcome, results.ops_with("duplicate")) == ("fail", {"a/1"})


def test_a_run_without_an_acknowledged_operation_of_a_planned_kind_shows_nothing() -> None:
    assert good_run(planned={"schedule": 1, "cancel": 5}).unknown_because == [
        "the plan has 5 cancel operations, and none was acknowledged"
    ]


def test_a_run_without_any_delivery_shows_nothing() -> None:
    unanswered = [invoke("schedule", "a/1", due_s=5.0, at_s=0.0), info("a/1", at_s=1.0)]

    assert check(numbered(unanswered), closed_at_s=60.0).unknown_because == ["nothing was delivered"]


@pytest.mark.parametrize(
    ("phases", "reason"),
    [
        ((), "was planned and never injected"),
        (("inject", "heal", "healed"), "was injected, and its effect was never verified"),
        (("inject", "observed"), "was never verified as healed"),
        (("inject", "observed", "heal"), "was never verified as healed"),
    ],
)
def test_a_planned_fault_must_be_seen_to_bite_and_to_heal(phases: tuple[str, ...], reason: str) -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=5.0)],
        faults=fault(inject_s=4.0, healed_s=6.0, phases=phases),
        closed_at_s=60.0,
        plan={"faults": [KILL]},
    )

    assert results.outcome == "unknown"
    assert results.unknown_because == [f"fault f1 (kill worker-1) {reason}"]
    assert results.vacuity[1]["ok"] is False


@pytest.mark.parametrize(
    ("inject_s", "healed_s", "outcome"),
    [(7.0, 9.0, "pass"), (7.0 + NS, 9.0, "unknown"), (1.0, 5.0, "pass"), (1.0, 5.0 - NS, "unknown")],
)
def test_a_scenario_must_have_something_fall_due_while_the_fault_it_exists_for_is_in_force(
    inject_s: float, healed_s: float, outcome: str
) -> None:
    assert good_run(faults=fault(inject_s=inject_s, healed_s=healed_s), required_faults=["kill"]).outcome == outcome


def test_another_kind_of_fault_does_not_stand_in_for_the_one_the_scenario_exists_for() -> None:
    assert (
        good_run(faults=fault(kind="stop", inject_s=4.0, healed_s=6.0), required_faults=["kill"]).outcome == "unknown"
    )


@pytest.mark.parametrize("also", [cancelled("a/2", at_s=5.0), []])
def test_only_a_required_notification_shows_what_a_scenario_exists_for(also: list[Record]) -> None:
    results = check(
        numbered([*scheduled("a/1", due_s=5.0), *also]),
        deliveries=[delivery("a/1", at_s=5.0)],
        faults=fault(inject_s=4.0, healed_s=6.0),
        closed_at_s=60.0,
        plan={"required_faults": ["kill"]},
    )

    assert results.outcome == ("unknown" if also else "pass")


def test_a_fault_that_was_never_injected_is_not_what_a_scenario_exists_for() -> None:
    never_over = fault("f1", kind="stop", inject_s=4.0, healed_s=None)
    only_healed = fault("f2", inject_s=4.0, healed_s=6.0, phases=("heal", "healed"))

    results = good_run(faults=[*never_over, *only_healed], required_faults=["kill"])

    assert results.unknown_because[0].startswith("no required notification was due while a kill was in force")


def test_a_refused_operation_does_not_count_toward_those_that_were_planned() -> None:
    refused = [invoke("cancel", "a/2", at_s=1.0), fail("a/2", at_s=1.1)]

    results = check(
        numbered([*scheduled("a/1", due_s=5.0), *refused]),
        deliveries=[delivery("a/1", at_s=5.0)],
        closed_at_s=60.0,
        plan={"planned": {"cancel": 1}},
    )

    assert results.outcome == "unknown"


def test_a_history_closed_too_early_to_call_a_notification_missed_does_not_pass() -> None:
    history = numbered([*scheduled("a/1", due_s=5.0), *scheduled("b/1", due_s=9.0, at_s=0.2)])

    results = check(history, deliveries=[delivery("a/1", at_s=5.0)], closed_at_s=8.0)

    assert results.unknown_because == ["1 required notification had not arrived, and the records do not prove a miss"]


@pytest.mark.parametrize(("canary_at_s", "label"), [(7.05, "late"), (7.05 + NS, "unknown_late")])
def test_lateness_while_the_harness_was_starved_is_not_held_against_the_design(canary_at_s: float, label: str) -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=8.0), canary(0, due_s=7.0, at_s=canary_at_s)],
        closed_at_s=60.0,
    )

    assert results.labelled[0].label == label
    assert results.outcome == ("fail" if label == "late" else "unknown")


def test_a_canary_that_never_came_starves_the_time_between_its_neighbours() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=8.0), canary(0, due_s=6.0, at_s=6.0), canary(2, due_s=7.0, at_s=7.0)],
        closed_at_s=60.0,
    )

    assert results.unknown_because == [
        "the harness itself was starved from 6.0 to 7.0 s, so a late or missing delivery in these 1.0 s "
        "does not count against the design"
    ]


def test_canaries_whose_lines_changed_places_have_no_gap_between_them() -> None:
    canaries = [canary(n, due_s=6.0 + n / 4, at_s=6.0 + n / 4) for n in (0, 2, 1)]

    results = check(
        numbered(scheduled("a/1", due_s=5.0)), deliveries=[delivery("a/1", at_s=8.0), *canaries], closed_at_s=60.0
    )

    assert results.ops_with("late") == {"a/1"}


def test_starvation_changes_nothing_where_nothing_was_late() -> None:
    history = numbered(scheduled("a/1", due_s=5.0))

    results = check(history, deliveries=[delivery("a/1", at_s=5.0), canary(0, due_s=4.0, at_s=9.0)], closed_at_s=60.0)

    assert results.outcome == "pass"


def test_a_silent_canary_starves_the_rest_of_the_run() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=8.0), canary(0, due_s=1.0, at_s=1.0)],
        closed_at_s=60.0,
        plan={"canary_period_s": 0.25},
    )

    assert results.counts["unknown_late"] == 1


def test_until_the_first_canary_nothing_vouches_for_the_harness() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=0.2)),
        deliveries=[delivery("a/1", at_s=3.0), canary(8, due_s=2.0, at_s=2.0)],
        closed_at_s=60.0,
        plan={"canary_period_s": 2.0},
    )

    assert results.counts["unknown_late"] == 1


def test_without_a_clock_sample_nothing_is_early() -> None:
    history = numbered(scheduled("a/1", due_s=5.0))

    results = check(history, deliveries=[delivery("a/1", at_s=4.0)], clock=[], closed_at_s=60.0)

    assert (results.outcome, results.counts["unknown_early"]) == ("unknown", 1)


def test_a_run_whose_workers_were_not_proven_alive_is_unknown() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=5.0)],
        closed_at_s=60.0,
        workers_alive=False,
    )

    assert results.unknown_because == [
        "a worker was not alive when the history was closed, and no planned fault explains it"
    ]


def test_starvation_between_a_cancel_and_the_gateway_makes_a_phantom_unproven() -> None:
    history = numbered([*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=5.0)])

    results = check(history, deliveries=[delivery("a/1", at_s=6.0), canary(0, due_s=5.2, at_s=5.9)], closed_at_s=60.0)

    assert (results.outcome, results.counts["unproven"]) == ("unknown", 1)


@pytest.mark.parametrize(("step_ns", "stepped"), [(5_000_000, False), (5_000_001, True), (-5_000_001, True)])
def test_a_step_of_the_wall_clock_leaves_early_and_late_unsaid(step_ns: int, stepped: bool) -> None:
    results = check(
        numbered([*scheduled("a/1", due_s=5.0), *scheduled("b/1", due_s=5.0, at_s=0.2)]),
        deliveries=[delivery("a/1", at_s=4.0), delivery("b/1", at_s=9.0)],
        clock=[{"wall_ns": 0, "mono_ns": 0}, {"wall_ns": 10**9 + step_ns, "mono_ns": 10**9}],
        closed_at_s=60.0,
    )

    expected = ["unknown_early", "unknown_late"] if stepped else ["early", "late"]
    assert [found.label for found in results.labelled] == expected
    assert results.outcome == ("unknown" if stepped else "fail")


def test_a_step_of_the_wall_clock_hides_no_duplicate() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=4.0), delivery("a/1", at_s=4.5)],
        clock=[{"wall_ns": 0, "mono_ns": 0}, {"wall_ns": 10**12, "mono_ns": 10**9}],
        closed_at_s=60.0,
    )

    assert (results.outcome, results.ops_with("duplicate")) == ("fail", {"a/1"})


def test_a_step_of_the_wall_clock_moves_what_can_be_called_missed() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        clock=[{"wall_ns": 0, "mono_ns": 0}, {"wall_ns": -60 * 10**9, "mono_ns": 10**9}],
        closed_at_s=60.0,
    )

    assert (results.outcome, results.states) == ("unknown", {"a/1": "open"})


def test_an_accusation_tells_what_was_promised_what_had_to_hold_and_what_was_recorded() -> None:
    results = check(
        numbered([*scheduled("a/1", due_s=5.0), *cancelled("a/2", at_s=3.0)]),
        deliveries=[delivery("a/1", at_s=5.0)],
        faults=fault(inject_s=4.0, healed_s=6.0),
        closed_at_s=60.0,
    )

    assert results.violations[0].explanation == (
        "Phantom. Notification a was accepted at 0.1 s and due at 5.0 s. "
        "Worker-1 was killed and down from 4.0 to 6.0 s. The cancel was acknowledged at 3.1 s. "
        "It was delivered by worker-1 at 5.0 s, 1.9 s after that; a delivery in flight is allowed 500 ms. "
        "Fix: ask the database at delivery time whether the notification is still wanted."
    )
    assert results.violations[0].evidence == [
        "history.jsonl:1", "history.jsonl:2", "history.jsonl:3", "history.jsonl:4", "deliveries.jsonl:1",
        "faults.jsonl:1", "faults.jsonl:2", "faults.jsonl:3", "faults.jsonl:4",
    ]  # fmt: skip


def test_a_summary_counts_each_accusation_and_tells_the_gravest() -> None:
    history = numbered([*scheduled("a/1", due_s=5.0), *scheduled("b/1", due_s=5.0, at_s=0.2)])

    results = check(history, deliveries=[delivery("b/1", at_s=4.0), delivery("b/1", at_s=5.0)], closed_at_s=60.0)

    assert [violation.label for violation in results.violations] == ["early", "duplicate", "missed"]
    assert results.explanation.startswith(
        "1 missed, 1 duplicate, 1 early. For example: Missed. Notification a was accepted at 0.1 s"
    )


def test_latencies_are_figures_that_were_measured() -> None:
    history = numbered(
        [
            *scheduled("a/1", due_s=5.0),
            *scheduled("b/1", due_s=5.0, at_s=0.2),
            *cancelled("b/2", at_s=5.0),
            *scheduled("c/1", due_s=5.0, at_s=0.4),
            *scheduled("c/2", due_s=8.0, at_s=5.0),
            *scheduled("d/1", due_s=4.0, at_s=0.6),
            *cancelled("d/2", at_s=5.0),
        ]
    )
    deliveries = [
        delivery("a/1", at_s=7.5),
        delivery("b/1", at_s=5.2),
        delivery("b/1", at_s=5.4),
        delivery("c/1", at_s=5.3),
        delivery("d/1", at_s=4.0),
    ]

    results = check(history, deliveries=deliveries, faults=fault(inject_s=6.0, healed_s=7.0), closed_at_s=60.0)

    assert results.lateness_s["raw"] == {"p50": 0.2, "p95": 2.5, "p99": 2.5, "max": 2.5}
    assert results.lateness_s["healthy"]["max"] == 1.5
    assert results.cancel_latency_s == {"p50": 0.3, "p95": 0.3, "p99": 0.3, "max": 0.3}
    assert results.revision_latency_s["p50"] == 0.2


@pytest.mark.parametrize(("at_s", "status", "outcome"), [(30.0, -9, "unknown"), (30.0, 1, "pass"), (5.5, -9, "pass")])
def test_a_server_killed_by_nobody_that_is_known_leaves_the_run_unknown(at_s: float, status: int, outcome: str) -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=5.0)],
        faults=fault(inject_s=5.0, healed_s=6.0),
        restarts=[(nanoseconds(at_s), "worker-1", status)],
        closed_at_s=60.0,
    )

    assert results.outcome == outcome
