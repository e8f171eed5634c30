"""Through the whole harness: a correct design is never accused, and every broken one is, for what it does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from duetime.harness.plan.catalogue import FULL
from duetime.harness.plan.lookup import named
from duetime.harness.plan.plan import CANCELS, Plan
from tests.commands import BROKEN, compared

pytestmark = pytest.mark.runs

FIRST = ["downtime"]
"""Every defect shows in it."""
EVERY_SCENARIO = pytest.mark.parametrize(
    "scenario",
    [pytest.param(scenario.name, marks=() if scenario.name in FIRST else pytest.mark.full) for scenario in FULL],
)
DEFECTS = {
    "lossy": "missed",
    "twice": "duplicate",
    "early": "early",
    "ignores_cancel": "phantom",
    "old_revisions": "stale",
}
VIOLATIONS = ("missed", "duplicate", "early", "late", "phantom", "stale")

Cells = dict[str, dict[str, Any]]
Look = Callable[[str], Cells]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Look:
    """The oracle and all broken designs in one scenario, which is run when it is first asked for."""

    @cache
    def look(scenario: str) -> Cells:
        designs = ",".join(f"{BROKEN}:{name}" for name in ("sound", *DEFECTS, "amnesiac"))
        out = tmp_path_factory.mktemp(scenario)
        found = compared(
            *("--designs", designs, "--scenarios", scenario, "--seed", "5", "--side-by-side", "7"), out=out
        )[1]
        return {design: cell for (_, design), cell in found.items()}

    return look


@EVERY_SCENARIO
def test_the_reference_is_never_accused(cells: Look, scenario: str) -> None:
    cell = able(cells(scenario)["sound"])
    broken = {label for label in VIOLATIONS if cell["counts"][label]}

    if named(scenario).profile.measures_capacity:
        # It asks the outside world about each of five thousand: nobody said that it is quick.
        assert broken <= {"late", "missed"}, cell
    else:
        assert broken == set(), cell
        assert cell["outcome"] == "pass", cell["explanation"]


@EVERY_SCENARIO
@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_in_every_scenario_under_its_own_name(cells: Look, scenario: str, name: str) -> None:
    if name not in showing(named(scenario).plan(5)):
        pytest.skip(f"nothing in {scenario} is what {name} gets wrong")
    cell = able(cells(scenario)[name])

    assert cell["outcome"] == "fail", cell
    assert cell["counts"][DEFECTS[name]] > 0, cell["counts"]


@pytest.mark.parametrize("scenario", ["downtime", pytest.param("backlog", marks=pytest.mark.full)])
def test_who_forgets_at_a_restart_is_found_where_every_server_is_restarted(cells: Look, scenario: str) -> None:
    # Not held against it in crash: there the restart may come when nothing is left to forget.
    assert cells(scenario)["amnesiac"]["counts"]["missed"] > 0


@pytest.mark.full
@pytest.mark.parametrize("scenario", ["calm", "more_servers"])
def test_who_forgets_at_a_restart_is_not_accused_where_there_is_none(cells: Look, scenario: str) -> None:
    assert cells(scenario)["amnesiac"]["outcome"] == "pass"


def able(cell: dict[str, Any]) -> dict[str, Any]:
    """The cell, unless this machine cannot do that to anybody."""
    if cell["outcome"] == "not applicable":
        pytest.skip(cell["explanation"])
    return cell


def showing(plan: Plan) -> set[str]:
    """The defects that have something to go wrong with in this plan."""
    done = {operation.do for operation in plan.operations if not operation.rolled_back}
    found = {"lossy", "twice", "early"}
    if done & CANCELS:
        found.add("ignores_cancel")
    if done & {"move_event", "change_address", "postpone"}:
        found.add("old_revisions")
    return found
