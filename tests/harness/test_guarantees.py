"""The violations that guarantees allow, and the exit status that follows from cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from duetime.cli.runs import compare_status
from duetime.faults.fault import FaultKind
from duetime.harness.plan.plan import Environment, Persistence, Plan, PlannedFault, PlannedOperation, Profile
from duetime.harness.runs.cell import Cell, Outcome
from duetime.harness.runs.guarantees import allowed_violations
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


def plan(*kinds: FaultKind, persistence: Persistence = "default", visibility_timeout_s: float = 3600.0) -> Plan:
    """One notification due 5 s after it is scheduled, under faults of these kinds."""
    return Plan(
        scenario="s",
        seed=1,
        workers=1,
        profile=Profile(lateness_limit_s=1),
        environment=Environment(broker_persistence=persistence, visibility_timeout_s=visibility_timeout_s),
        required_faults=(),
        operations=[PlannedOperation(at_s=0, client=0, do="create_event", event=1, due_s=5)],
        faults=[PlannedFault(fault="f", kind=kind, target="all", inject_s=1, heal_s=2) for kind in kinds],
    )


def test_without_faults_a_design_that_guarantees_delivery_is_allowed_no_violation() -> None:
    assert not allowed_violations(AT_LEAST_ONCE, plan())
    assert not allowed_violations(AT_MOST_ONCE, plan())


def test_a_fault_allows_only_the_violations_that_the_guarantees_do_not_exclude() -> None:
    assert allowed_violations(AT_LEAST_ONCE, plan("kill")) == {"duplicate"}
    assert allowed_violations(AT_MOST_ONCE, plan("kill")) == {"missed", "phantom", "stale"}
    assert allowed_violations(NOTHING, plan()) == {"missed", "duplicate", "late"}


def test_a_fault_that_interrupts_no_delivery_allows_neither_a_miss_nor_a_duplicate() -> None:
    kinds: tuple[FaultKind, ...] = ("deploy", "gateway_slow", "old_transaction")
    for kind in kinds:
        assert "missed" not in allowed_violations(AT_MOST_ONCE, plan(kind))
        assert "duplicate" not in allowed_violations(AT_LEAST_ONCE, plan(kind))


def test_a_killed_client_allows_misses_only_of_a_design_that_publishes_after_the_commit() -> None:
    assert "missed" not in allowed_violations(AT_LEAST_ONCE, plan("client_kill"))
    assert "missed" in allowed_violations(replace(AT_LEAST_ONCE, transactional=False), plan("client_kill"))


def test_a_design_without_a_cancel_delivers_what_was_cancelled_or_replaced_also_without_a_fault() -> None:
    assert allowed_violations(replace(AT_LEAST_ONCE, has_cancel=False), plan()) == {"phantom", "stale"}


def test_a_killed_client_undoes_only_a_cancel_that_is_published_after_the_commit() -> None:
    published = replace(AT_LEAST_ONCE, transactional_cancel=False)

    assert {"phantom", "stale"} <= allowed_violations(published, plan("client_kill"))
    assert not allowed_violations(published, plan())
    assert not allowed_violations(AT_LEAST_ONCE, plan("client_kill"))
    assert replace(published, transactional_cancel=None).cancels_transactionally


def test_a_design_that_keeps_notifications_in_the_broker_guarantees_no_more_than_the_broker() -> None:
    in_broker = replace(AT_LEAST_ONCE, as_durable_as="broker")

    assert "missed" in allowed_violations(in_broker, plan("broker_kill", persistence="rdb"))
    assert "missed" not in allowed_violations(in_broker, plan("broker_kill", persistence="aof"))
    assert "missed" not in allowed_violations(AT_LEAST_ONCE, plan("broker_kill", persistence="none"))
    assert "duplicate" in allowed_violations(in_broker, plan(visibility_timeout_s=4))
    assert "duplicate" not in allowed_violations(in_broker, plan())


def test_a_wrong_clock_allows_early_and_late_only_of_a_design_that_uses_the_workers_clock() -> None:
    assert {"early", "late"} <= allowed_violations(replace(AT_LEAST_ONCE, due_by="workers"), plan("clock"))
    assert {"early", "late"} <= allowed_violations(replace(AT_LEAST_ONCE, due_by="either"), plan("clock"))
    clocks: tuple[Literal["database", "client"], ...] = ("database", "client")
    for due_by in clocks:
        assert "early" not in allowed_violations(replace(AT_LEAST_ONCE, due_by=due_by), plan("clock"))


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
