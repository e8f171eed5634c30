"""Through the whole harness: a correct design is never accused, and every broken one is, for what it does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.commands import BROKEN, compared

pytestmark = pytest.mark.slow

SCENARIOS = ("calm", "more_servers", "downtime", "crash")
DEFECTS = {
    "lossy": "missed",
    "twice": "duplicate",
    "early": "early",
    "ignores_cancel": "phantom",
    "old_revisions": "stale",
}
VIOLATIONS = ("missed", "duplicate", "early", "late", "phantom", "stale")

Cells = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    designs = ",".join(["reference", *(f"{BROKEN}:{name}" for name in (*DEFECTS, "amnesiac"))])
    return compared("--designs", designs, "--seed", "5", out=tmp_path_factory.mktemp("runs"))[1]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_reference_is_never_accused(cells: Cells, scenario: str) -> None:
    cell = cells[scenario, "reference"]

    assert {label: cell["counts"][label] for label in VIOLATIONS} == dict.fromkeys(VIOLATIONS, 0), cell
    assert cell["outcome"] == "pass", cell["explanation"]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_in_every_scenario_under_its_own_name(cells: Cells, scenario: str, name: str) -> None:
    cell = cells[scenario, name]

    assert cell["outcome"] == "fail", cell
    assert cell["counts"][DEFECTS[name]] > 0, cell["counts"]


def test_who_forgets_at_a_restart_is_found_where_every_server_is_restarted(cells: Cells) -> None:
    # Not held against it in crash: there the restart may come when nothing is left to forget.
    assert cells["downtime", "amnesiac"]["counts"]["missed"] > 0


@pytest.mark.parametrize("scenario", ["calm", "more_servers"])
def test_who_forgets_at_a_restart_is_not_accused_where_there_is_none(cells: Cells, scenario: str) -> None:
    assert cells[scenario, "amnesiac"]["outcome"] == "pass"
