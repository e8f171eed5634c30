"""What a cell's outcome means for the command's exit status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from duetime.cli.runs import compare_status
from duetime.harness.plan.plan import Environment, Plan, PlannedFault, PlannedOperation, Profile
from duetime.harness.runs.compare import Cell, Outcome, permitted
from duetime.interface import Guarantees

AT_LEAST_ONCE = Guarantees(delivery="at_least_once", transactional=True, cancels=True)
AT_MOST_ONCE = Guarantees(delivery="at_most_once", transactional=False, cancels=False)
NOTHING = Guarantees(delivery="nothing", transactional=True, cancels=True)


def cell(outcome: Outcome, *, within_guarantees: bool | None) -> Cell:
    return Cell(
        design="d",
        scenario="s",
        seed=1,
        outcome=outcome,
        within_guarantees=within_guarantees,
        explanation="",
        weakness="",
        run_dir=Path("run"),
    )


def plan(*kinds: str, keeps: str = "default", visibility_timeout_s: float = 3600.0) -> Plan:
    """Something due 5 s after it is scheduled, under faults of these kinds."""
    return Plan(
        scenario="s",
        seed=1,
        workers=1,
        profile=Profile(lateness_limit_s=1),
        environment=Environment(broker_persistence=keeps, visibility_timeout_s=visibility_timeout_s),
        required_faults=(),
        operations=[PlannedOperation(at_s=0, client=0, do="create_event", event=1, due_s=5)],
        faults=[PlannedFault(fault="f", kind=kind, target="all", inject_s=1, heal_s=2) for kind in kinds],
    )


def test_who_promises_delivery_may_not_break_it_on_a_quiet_day() -> None:
    assert not permitted(AT_LEAST_ONCE, plan())
    assert not permitted(AT_MOST_ONCE, plan())


def test_a_fault_excuses_only_what_the_promise_leaves_open() -> None:
    assert set(permitted(AT_LEAST_ONCE, plan("kill"))) == {"duplicate"}
    assert set(permitted(AT_MOST_ONCE, plan("kill"))) == {"missed", "phantom", "stale"}
    assert set(permitted(NOTHING, plan())) == {"missed", "duplicate", "late"}


def test_a_fault_that_interrupts_no_delivery_excuses_none() -> None:
    for kind in ("deploy", "gateway_slow", "old_transaction"):
        assert "missed" not in permitted(AT_MOST_ONCE, plan(kind))
        assert "duplicate" not in permitted(AT_LEAST_ONCE, plan(kind))


def test_the_gap_after_the_commit_is_open_only_for_who_publishes_after_it() -> None:
    assert "missed" not in permitted(AT_LEAST_ONCE, plan("client_kill"))
    assert "missed" in permitted(replace(AT_LEAST_ONCE, transactional=False), plan("client_kill"))


def test_who_keeps_it_in_the_broker_promises_what_the_broker_keeps_for_as_long_as_it_waits() -> None:
    in_broker = replace(AT_LEAST_ONCE, as_durable_as="broker")

    assert "missed" in permitted(in_broker, plan("broker_kill", keeps="rdb"))
    assert "missed" not in permitted(in_broker, plan("broker_kill", keeps="aof"))
    assert "missed" not in permitted(AT_LEAST_ONCE, plan("broker_kill", keeps="none"))
    assert "duplicate" in permitted(in_broker, plan(visibility_timeout_s=4))
    assert "duplicate" not in permitted(in_broker, plan())


def test_a_wrong_clock_excuses_only_who_goes_by_it() -> None:
    assert {"early", "late"} <= set(permitted(replace(AT_LEAST_ONCE, due_by="workers"), plan("clock")))
    assert "early" not in permitted(AT_LEAST_ONCE, plan("clock"))


@pytest.mark.parametrize(
    ("cells", "strict", "status"),
    [
        ([cell("pass", within_guarantees=True)], False, 0),
        ([cell("fail", within_guarantees=True)], False, 0),
        ([cell("fail", within_guarantees=True)], True, 1),
        ([cell("fail", within_guarantees=False), cell("unknown", within_guarantees=None)], False, 1),
        ([cell("pass", within_guarantees=True), cell("unknown", within_guarantees=None)], False, 3),
        ([cell("pass", within_guarantees=True), cell("not applicable", within_guarantees=None)], True, 0),
        ([cell("not applicable", within_guarantees=None)], False, 3),
    ],
)
def test_fail_outranks_unknown_and_unknown_outranks_pass(cells: list[Cell], strict: bool, status: int) -> None:
    assert compare_status(cells, strict=strict) == status
