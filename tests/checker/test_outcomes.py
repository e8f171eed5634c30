"""Outcomes, the reasons for unknown, and explanations."""

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


def test_a_run_without_a_violation_passes_and_has_no_explanation() -> None:
    results = good_run(planned={"schedule": 1, "cancel": 0})

    assert (results.outcome, results.unknown_because, results.explanation) == ("pass", [], "")


def test_every_label_and_every_state_is_counted_zeros_included() -> None:
    counts = good_run().counts

    assert (counts["on_time"], counts["delivered"]) == (1, 1)
    assert {"phantom", "stale", "duplicate", "early", "late", "recovered", "zombie", "excused", "on_time"} <= set(
        counts
    )
    assert {"delivered", "missed", "lost", "stuck", "indeterminate", "none_due", "open", "unknown_late"} <= set(counts)
    assert (counts["owed"], counts["arrived"]) == (1, 1)
    assert sum(counts.values()) == 4


def test_an_open_history_does_not_pass() -> None:
    assert good_run(closed_at_s=None).unknown_because == [
        "the history was never closed, so more deliveries may still arrive"
    ]


def test_an_open_history_still_proves_a_duplicate() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)), deliveries=[delivery("a/1", at_s=5.0), delivery("a/1", at_s=5.1)]
    )

    assert (results.outcome, results.ops_with("duplicate")) == ("fail", {"a/1"})


def test_a_run_without_an_acknowledged_operation_of_a_planned_verb_is_unknown() -> None:
    assert good_run(planned={"schedule": 1, "cancel": 5}).unknown_because == [
        "the plan has 5 cancel operations, and none was acknowledged"
    ]


def test_a_run_without_a_delivery_is_unknown() -> None:
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
def test_a_planned_fault_must_be_verified_as_injected_and_as_healed(phases: tuple[str, ...], reason: str) -> None:
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


ASKED = {"before_delivery": "before its delivery", "after_delivery": "after the answer to its delivery"}


@pytest.mark.parametrize(
    ("target", "hit", "seen"),
    [
        ("before_delivery", "before", None),
        ("before_delivery", "between", "between its delivery and the answer"),
        ("after_delivery", "after", None),
        ("after_delivery", "between", "between its delivery and the answer"),
        ("after_delivery", None, "nothing"),
        ("delivering", "between", None),
        # Runs of older versions did not measure the phase.
        ("delivering", None, None),
    ],
)
def test_a_fault_must_have_hit_in_the_phase_of_a_delivery_that_it_asked_for(
    target: str, hit: str | None, seen: str | None
) -> None:
    results = hit_in_phase(target, hit)

    reason = f"fault f1 (kill {target}) was to hit a worker {ASKED.get(target)}, and the records show {seen}"
    assert results.unknown_because == ([reason] if seen else [])


def test_a_phase_that_no_worker_came_to_is_the_reason() -> None:
    assert hit_in_phase("before_delivery", None, injected=False).unknown_because == [
        "fault f1 (kill before_delivery) was planned and never injected: no worker was seen in time before its delivery"
    ]


def hit_in_phase(target: str, hit: str | None, *, injected: bool = True) -> Results:
    """The results of a good run whose planned kill has this target, and was measured in the phase `hit`."""
    records = fault(inject_s=4.0, healed_s=6.0) if injected else []
    if hit:
        records[1]["delivery"] = {"op": "a/1", "phase": hit, "line": 1}
    return check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=5.0)],
        faults=records,
        closed_at_s=60.0,
        plan={"faults": [{**KILL, "target": target}]},
    )


@pytest.mark.parametrize(
    ("inject_s", "healed_s", "outcome"),
    [(7.0, 9.0, "pass"), (7.0 + NS, 9.0, "unknown"), (1.0, 5.0, "pass"), (1.0, 5.0 - NS, "unknown")],
)
def test_a_required_notification_must_be_due_while_a_required_fault_is_in_force(
    inject_s: float, healed_s: float, outcome: str
) -> None:
    assert good_run(faults=fault(inject_s=inject_s, healed_s=healed_s), required_faults=["kill"]).outcome == outcome


def test_another_kind_of_fault_does_not_replace_the_required_one() -> None:
    assert (
        good_run(faults=fault(kind="stop", inject_s=4.0, healed_s=6.0), required_faults=["kill"]).outcome == "unknown"
    )


@pytest.mark.parametrize("also", [cancelled("a/2", at_s=5.0), []])
def test_only_a_required_notification_counts_under_a_required_fault(also: list[Record]) -> None:
    results = check(
        numbered([*scheduled("a/1", due_s=5.0), *also]),
        deliveries=[delivery("a/1", at_s=5.0)],
        faults=fault(inject_s=4.0, healed_s=6.0),
        closed_at_s=60.0,
        plan={"required_faults": ["kill"]},
    )

    assert results.outcome == ("unknown" if also else "pass")


def test_a_required_fault_must_have_been_injected() -> None:
    never_over = fault("f1", kind="stop", inject_s=4.0, healed_s=None)
    only_healed = fault("f2", inject_s=4.0, healed_s=6.0, phases=("heal", "healed"))

    results = good_run(faults=[*never_over, *only_healed], required_faults=["kill"])

    assert results.unknown_because[0].startswith("no required notification was due while a kill was in force")


def test_a_rejected_operation_does_not_count_toward_the_planned_ones() -> None:
    refused = [invoke("cancel", "a/2", at_s=1.0), fail("a/2", at_s=1.1)]

    results = check(
        numbered([*scheduled("a/1", due_s=5.0), *refused]),
        deliveries=[delivery("a/1", at_s=5.0)],
        closed_at_s=60.0,
        plan={"planned": {"cancel": 1}},
    )

    assert results.outcome == "unknown"


def test_a_history_closed_before_the_deadline_of_a_notification_does_not_pass() -> None:
    history = numbered([*scheduled("a/1", due_s=5.0), *scheduled("b/1", due_s=9.0, at_s=0.2)])

    results = check(history, deliveries=[delivery("a/1", at_s=5.0)], closed_at_s=8.0)

    assert results.unknown_because == ["1 required notification had not arrived, and the records do not prove a miss"]


@pytest.mark.parametrize(("canary_at_s", "label"), [(7.05, "late"), (7.05 + NS, "unknown_late")])
def test_lateness_while_the_harness_was_starved_is_no_violation(canary_at_s: float, label: str) -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=8.0), canary(0, due_s=7.0, at_s=canary_at_s)],
        closed_at_s=60.0,
    )

    assert results.labelled[0].label == label
    assert results.outcome == ("fail" if label == "late" else "unknown")


def test_the_time_around_a_missing_canary_counts_as_starved() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=8.0), canary(0, due_s=6.0, at_s=6.0), canary(2, due_s=7.0, at_s=7.0)],
        closed_at_s=60.0,
    )

    assert results.unknown_because == [
        "the harness itself was starved from 6.0 to 7.0 s, so a late or missing delivery in these 1.0 s "
        "does not count against the design"
    ]


def test_the_order_of_the_lines_of_canaries_does_not_matter() -> None:
    canaries = [canary(n, due_s=6.0 + n / 4, at_s=6.0 + n / 4) for n in (0, 2, 1)]

    results = check(
        numbered(scheduled("a/1", due_s=5.0)), deliveries=[delivery("a/1", at_s=8.0), *canaries], closed_at_s=60.0
    )

    assert results.ops_with("late") == {"a/1"}


def test_starvation_changes_nothing_when_no_delivery_was_late() -> None:
    history = numbered(scheduled("a/1", due_s=5.0))

    results = check(history, deliveries=[delivery("a/1", at_s=5.0), canary(0, due_s=4.0, at_s=9.0)], closed_at_s=60.0)

    assert results.outcome == "pass"


def test_the_time_after_the_last_canary_counts_as_starved() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=8.0), canary(0, due_s=1.0, at_s=1.0)],
        closed_at_s=60.0,
        plan={"canary_period_s": 0.25},
    )

    assert results.counts["unknown_late"] == 1


def test_the_time_before_the_first_canary_counts_as_starved() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=0.2)),
        deliveries=[delivery("a/1", at_s=3.0), canary(8, due_s=2.0, at_s=2.0)],
        closed_at_s=60.0,
        plan={"canary_period_s": 2.0},
    )

    assert results.counts["unknown_late"] == 1


def test_without_a_clock_sample_no_delivery_is_early() -> None:
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
def test_a_step_of_the_wall_clock_makes_early_and_late_unknown(step_ns: int, stepped: bool) -> None:
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


def test_a_step_of_the_wall_clock_does_not_count_toward_a_miss() -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        clock=[{"wall_ns": 0, "mono_ns": 0}, {"wall_ns": -60 * 10**9, "mono_ns": 10**9}],
        closed_at_s=60.0,
    )

    assert (results.outcome, results.states) == ("unknown", {"a/1": "open"})


def test_latencies_are_measured_values() -> None:
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
def test_a_worker_killed_without_a_fault_makes_the_run_unknown(at_s: float, status: int, outcome: str) -> None:
    results = check(
        numbered(scheduled("a/1", due_s=5.0)),
        deliveries=[delivery("a/1", at_s=5.0)],
        faults=fault(inject_s=5.0, healed_s=6.0),
        restarts=[(nanoseconds(at_s), "worker-1", status)],
        closed_at_s=60.0,
    )

    assert results.outcome == outcome
