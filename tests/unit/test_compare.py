"""What a cell's outcome means for the command's exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from duetime.cli import compare_status
from duetime.harness.compare import Cell, Outcome, permitted
from duetime.interface import Promise

AT_LEAST_ONCE = Promise(delivery="at_least_once", transactional=True, cancels=True)
AT_MOST_ONCE = Promise(delivery="at_most_once", transactional=False, cancels=False)
NOTHING = Promise(delivery="nothing", transactional=True, cancels=True)


def cell(outcome: Outcome, *, promised: bool | None) -> Cell:
    return Cell(
        design="d",
        scenario="s",
        seed=1,
        outcome=outcome,
        promised=promised,
        explanation="",
        weakness="",
        run_dir=Path("run"),
        results=None,
    )


def test_who_promises_delivery_may_not_break_it_on_a_quiet_day() -> None:
    assert not permitted(AT_LEAST_ONCE, faulted=False)
    assert not permitted(AT_MOST_ONCE, faulted=False)


def test_a_fault_excuses_only_what_the_promise_leaves_open() -> None:
    assert set(permitted(AT_LEAST_ONCE, faulted=True)) == {"duplicate"}
    assert set(permitted(AT_MOST_ONCE, faulted=True)) == {"missed", "phantom", "stale"}
    assert set(permitted(NOTHING, faulted=False)) == {"missed", "duplicate", "late"}


@pytest.mark.parametrize(
    ("cells", "strict", "status"),
    [
        ([cell("pass", promised=True)], False, 0),
        ([cell("fail", promised=True)], False, 0),
        ([cell("fail", promised=True)], True, 1),
        ([cell("fail", promised=False), cell("unknown", promised=None)], False, 1),
        ([cell("pass", promised=True), cell("unknown", promised=None)], False, 3),
        ([cell("pass", promised=True), cell("not applicable", promised=None)], True, 0),
        ([cell("not applicable", promised=None)], False, 3),
    ],
)
def test_fail_outranks_unknown_and_unknown_outranks_pass(cells: list[Cell], strict: bool, status: int) -> None:
    assert compare_status(cells, strict=strict) == status
