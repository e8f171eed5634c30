"""Faults on certain keys, and notifications that a run need not deliver."""

from __future__ import annotations

from typing import Any

import pytest

from duetime.checker import Results, check
from tests.checker.small_histories import delivery, fault, numbered, scheduled

LIMIT_S = 2.0


def judged(history: list[dict[str, Any]], **rest: Any) -> Results:
    return check(numbered(history), **rest)


def poisoned(healed_s: float) -> list[dict[str, Any]]:
    """A fault from 4 s on, on keys that begin with ``poison``."""
    return [{**line, "only": ["poison"]} for line in fault(kind="gateway_refuse", inject_s=4.0, healed_s=healed_s)]


def test_a_fault_of_certain_keys_excuses_only_these() -> None:
    history = [*scheduled("poison/1", due_s=5.0), *scheduled("other/1", due_s=5.0)]

    results = judged(
        history,
        deliveries=[delivery("poison/1", at_s=11.0), delivery("other/1", at_s=11.0)],
        faults=poisoned(healed_s=10.0),
        closed_at_s=60.0,
    )

    assert {found.delivery.op: found.label for found in results.labelled} == {"poison/1": "excused", "other/1": "late"}


def test_a_notification_behind_a_poisoned_one_has_its_own_deadline() -> None:
    results = judged(
        [*scheduled("poison/1", due_s=5.0), *scheduled("other/1", due_s=5.0)],
        deliveries=[delivery("poison/1", at_s=11.0)],
        faults=poisoned(healed_s=10.0),
        closed_at_s=12.5,
    )

    assert results.ops_with("missed") == {"other/1"}


def test_a_fault_of_other_keys_is_not_named_in_an_explanation() -> None:
    results = judged(
        [*scheduled("poison/1", due_s=5.0), *scheduled("other/1", due_s=5.0)],
        faults=poisoned(healed_s=10.0),
        closed_at_s=60.0,
    )
    named = {violation.op: "the gateway refused" in violation.explanation.lower() for violation in results.violations}

    assert named == {"poison/1": True, "other/1": False}


def test_a_fault_of_certain_keys_is_vacuous_if_only_others_were_due() -> None:
    plan = {
        "required_faults": ["gateway_refuse"],
        "faults": [{"fault": "f1", "kind": "gateway_refuse", "target": "gateway"}],
    }

    results = judged(
        scheduled("other/1", due_s=5.0),
        deliveries=[delivery("other/1", at_s=5.0)],
        faults=poisoned(healed_s=10.0),
        closed_at_s=60.0,
        plan=plan,
    )

    assert results.outcome == "unknown"


@pytest.mark.parametrize(("owed_until_s", "outcome"), [(60.0, "pass"), (None, "unknown")])
def test_a_notification_due_after_the_run_need_not_arrive(owed_until_s: float | None, outcome: str) -> None:
    profile = {"early_tolerance_s": 0.05, "lateness_limit_s": LIMIT_S, "in_flight_allowance_s": 0.5}

    results = judged(
        [*scheduled("far/1", due_s=3600.0), *scheduled("near/1", due_s=5.0)],
        deliveries=[delivery("near/1", at_s=5.0)],
        closed_at_s=20.0,
        plan={"profile": {**profile, "owed_until_s": owed_until_s}},
    )

    assert results.states["far/1"] == "open"
    assert results.outcome == outcome


def test_a_notification_due_in_the_run_must_arrive_even_if_it_is_closed_early() -> None:
    profile = {
        "early_tolerance_s": 0.05,
        "lateness_limit_s": LIMIT_S,
        "in_flight_allowance_s": 0.5,
        "owed_until_s": 60.0,
    }

    results = judged(
        [*scheduled("near/1", due_s=5.0), *scheduled("next/1", due_s=50.0)],
        deliveries=[delivery("near/1", at_s=5.0)],
        closed_at_s=20.0,
        plan={"profile": profile},
    )

    assert results.outcome == "unknown"


def test_deliveries_after_the_start_of_the_event_and_overtaken_ones_are_counted() -> None:
    profile = {
        "early_tolerance_s": 0.05,
        "lateness_limit_s": 30.0,
        "in_flight_allowance_s": 0.5,
        "event_begins_s": 10.0,
    }

    results = judged(
        [*scheduled("a/1", due_s=5.0), *scheduled("b/1", due_s=5.5), *scheduled("c/1", due_s=7.0)],
        deliveries=[delivery("c/1", at_s=14.0), delivery("a/1", at_s=15.0), delivery("b/1", at_s=15.0)],
        closed_at_s=60.0,
        plan={"profile": profile},
    )

    assert results.service == {"event_begun": 1, "overtaken": 2}
    assert results.outcome == "pass"


def test_a_non_excusing_fault_excuses_no_lateness() -> None:
    profile = {"early_tolerance_s": 0.05, "lateness_limit_s": 2.0, "in_flight_allowance_s": 0.5}

    results = judged(
        scheduled("a/1", due_s=5.0),
        deliveries=[delivery("a/1", at_s=8.0)],
        faults=fault(kind="old_transaction", inject_s=1.0, healed_s=10.0),
        closed_at_s=60.0,
        plan={"profile": {**profile, "non_excusing_faults": ["old_transaction"]}},
    )

    assert results.ops_with("late") == {"a/1"}
