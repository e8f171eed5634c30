"""The whole harness: a correct design has no violation, and each broken design has the violation of its defect."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from duetime.checker import VIOLATIONS
from duetime.harness.plan.catalogue import FULL
from duetime.harness.plan.lookup import named
from duetime.harness.plan.plan import CANCELS, Plan
from tests.commands import BROKEN, compared

pytestmark = pytest.mark.runs

QUICK = ["downtime"]
"""Every defect shows in it."""
EACH_SCENARIO = pytest.mark.parametrize(
    "scenario",
    [pytest.param(scenario.name, marks=() if scenario.name in QUICK else pytest.mark.full) for scenario in FULL],
)
DEFECTS = {
    "lossy": "missed",
    "duplicating": "duplicate",
    "early": "early",
    "ignores_cancel": "phantom",
    "old_revisions": "stale",
}

Cells = dict[str, dict[str, Any]]
CellsOf = Callable[[str], Cells]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> CellsOf:
    """The cells of all designs in one scenario, which is run at the first call."""

    @cache
    def cells_of(scenario: str) -> Cells:
        names = ("sound", *DEFECTS, "slow_rescue" if scenario == "crash" else "amnesiac")
        designs = ",".join(f"{BROKEN}:{name}" for name in names)
        out = tmp_path_factory.mktemp(scenario)
        found = compared(
            *("--designs", designs, "--scenarios", scenario, "--seed", "5", "--side-by-side", "7"), out=out
        )[1]
        return {design: cell for (_, design), cell in found.items()}

    return cells_of


@EACH_SCENARIO
def test_the_reference_has_no_violation(cells: CellsOf, scenario: str) -> None:
    cell = applicable(cells(scenario)["sound"])
    violations = {label for label in VIOLATIONS if cell["counts"][label]}

    if named(scenario).profile.measures_capacity:
        # It asks the gateway about each of five thousand notifications, and no design guarantees speed.
        assert violations <= {"late", "missed"}, cell
    else:
        assert violations == set(), cell
        assert cell["outcome"] == "pass", cell["explanation"]


@EACH_SCENARIO
@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_found_as_its_violation_in_every_scenario(cells: CellsOf, scenario: str, name: str) -> None:
    if name not in visible_defects(named(scenario).plan(5)):
        pytest.skip(f"no operation of {scenario} can show the defect of {name}")
    cell = applicable(cells(scenario)[name])

    assert cell["outcome"] == "fail", cell
    assert cell["counts"][DEFECTS[name]] > 0, cell["counts"]


@pytest.mark.parametrize("scenario", ["downtime", pytest.param("crash", marks=pytest.mark.full)])
def test_a_defect_breaks_the_guarantee_also_in_a_run_with_a_fault(cells: CellsOf, scenario: str) -> None:
    kept = {name: cells(scenario)[name]["within_guarantees"] for name in ("sound", "lossy", "duplicating")}

    assert kept == {"sound": True, "lossy": False, "duplicating": False}


@pytest.mark.full
def test_what_a_killed_worker_had_delivered_and_holds_for_five_minutes_will_repeat(cells: CellsOf) -> None:
    cell = cells("crash")["slow_rescue"]

    assert (cell["outcome"], cell["counts"]["will_repeat"], cell["counts"]["duplicate"]) == ("fail", 1, 0), cell
    assert "It comes back after 300 s." in cell["explanation"]
    assert cell["within_guarantees"] is True


@pytest.mark.parametrize("scenario", ["downtime", pytest.param("backlog", marks=pytest.mark.full)])
def test_a_design_that_forgets_at_a_restart_has_misses_where_all_workers_restart(cells: CellsOf, scenario: str) -> None:
    # Not in `crash`, where the restart may come when nothing is pending.
    assert cells(scenario)["amnesiac"]["counts"]["missed"] > 0


@pytest.mark.full
@pytest.mark.parametrize("scenario", ["calm", "more_servers"])
def test_a_design_that_forgets_at_a_restart_passes_where_no_worker_restarts(cells: CellsOf, scenario: str) -> None:
    assert cells(scenario)["amnesiac"]["outcome"] == "pass"


def applicable(cell: dict[str, Any]) -> dict[str, Any]:
    """The cell; skips the test if this machine cannot inject the fault."""
    if cell["outcome"] == "not applicable":
        pytest.skip(cell["explanation"])
    return cell


def visible_defects(plan: Plan) -> set[str]:
    """The defects that an operation of `plan` can show."""
    use_cases = {operation.do for operation in plan.operations if not operation.rolled_back}
    found = {"lossy", "duplicating", "early"}
    if use_cases & CANCELS:
        found.add("ignores_cancel")
    if use_cases & {"move_event", "change_address", "postpone"}:
        found.add("old_revisions")
    return found
