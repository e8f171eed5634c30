"""What concerns certain keys only, and what a run does not owe."""

from __future__ import annotations

from typing import Any

import pytest

from duetime.checker import Results, check
from tests.checker.small_histories import delivery, fault, numbered, scheduled

LIMIT_S = 2.0


def judged(history: list[dict[str, Any]], **rest: Any) -> Results:
    return check(numbered(history), **rest)


def poisoned(healed_s: float) -> list[dict[str, Any]]:
    """A fault from 4 s on that concerns keys that begin with ``poison``."""
    return [{**line, "only": ["poison"]} for line in fault(kind="gateway_refuse", inject_s=4.0, healed_s=healed_s)]


def test_a_fault_of_certain_keys_excuses_those_and_no_other() -> None:
    history = [*scheduled("poison/1", due_s=5.0), *scheduled("other/1", due_s=5.0)]

    results = judged(
        history,
        deliveries=[delivery("poison/1", at_s=11.0), delivery("other/1", at_s=11.0)],
        faults=poisoned(healed_s=10.0),
        closed_at_s=60.0,
    )

    assert {found.delivery.op: found.label for found in results.labelled} == {"poison/1": "excused", "other/1": "late"}


def test_what_lies_behind_a_poisoned_notification_is_missed_by_its_own_deadline() -> None:
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


def test_a_scenario_for_poison_is_vacuous_when_only_others_were_due_meanwhile() -> None:
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
def test_what_is_due_beyond_the_run_is_not_owed_in_it(owed_until_s: float | None, outcome: str) -> None:
    profile = {"early_tolerance_s": 0.05, "lateness_limit_s": LIMIT_S, "in_flight_allowance_s": 0.5}

    results = judged(
        [*scheduled("far/1", due_s=3600.0), *scheduled("near/1", due_s=5.0)],
        deliveries=[delivery("near/1", at_s=5.0)],
        closed_at_s=20.0,
        plan={"profile": {**profile, "owed_until_s": owed_until_s}},
    )

    assert results.states["far/1"] == "open"
    assert results.outcome == outcome


def test_what_is_due_before_that_is_owed_however_early_the_history_is_closed() -> None:
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


def test_it_is_counted_what_came_when_its_event_had_begun_and_what_was_overtaken() -> None:
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


def test_under_a_fault_that_excuses_nothing_late_is_late() -> None:
    profile = {"early_tolerance_s": 0.05, "lateness_limit_s": 2.0, "in_flight_allowance_s": 0.5}

    results = judged(
        scheduled("a/1", due_s=5.0),
        deliveries=[delivery("a/1", at_s=8.0)],
        faults=fault(kind="old_transaction", inject_s=1.0, healed_s=10.0),
        closed_at_s=60.0,
        plan={"profile": {**profile, "non_excusing_faults": ["old_transaction"]}},
    )

    assert results.ops_with("late") == {"a/1"}
