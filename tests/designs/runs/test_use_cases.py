"""All six use cases through each design, for real: what is promised of each, and what happens inside the database."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from duetime.app.effects import STATEMENTS
from duetime.app.follow_ups import FOLLOW_UPS
from tests.commands import compared, json_lines

pytestmark = pytest.mark.runs

DESIGNS = ("pull_worker", "push_readmodel", "oban_style_queue")
KINDS = {"event-reminder", *FOLLOW_UPS}

Cells = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """Wages are lesson 6's, and the full tests'."""
    status, found = compared(
        "--scenarios", "use_cases_downtime", "--seed", "11", out=tmp_path_factory.mktemp("use_cases")
    )
    assert status == 0
    return found


@pytest.fixture(scope="module")
def wages(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    status, found = compared("--scenarios", "wages", "--seed", "11", out=tmp_path_factory.mktemp("wages"))
    assert status == 0
    return found


def kind(record: dict[str, Any]) -> str:
    return str(record["key"].partition(":")[0])


def delivered(cell: dict[str, Any]) -> list[dict[str, Any]]:
    records = json_lines(Path(cell["run_dir"]) / "deliveries.jsonl")
    return [record for record in records if record["worker"] != "canary"]


def of_kinds(cell: dict[str, Any], label: str) -> Counter[str]:
    violations = json.loads((Path(cell["run_dir"]) / "results.json").read_text())["violations"]
    return Counter(violation["op"].partition(":")[0] for violation in violations if violation["label"] == label)


@pytest.mark.parametrize("design", DESIGNS)
def test_every_use_case_goes_through_every_design(cells: Cells, design: str) -> None:
    cell = cells["use_cases_downtime", design]

    # What of the poller's leaves the building may be missed altogether, if it was all due while nobody was up.
    assert {kind(record) for record in delivered(cell)} | set(of_kinds(cell, "missed")) == KINDS
    calls = json_lines(Path(cell["run_dir"]) / "history.jsonl")
    assert {kind(call) for call in calls if call.get("f") == "cancel"} == KINDS


@pytest.mark.parametrize("design", DESIGNS)
def test_every_cell_is_as_its_design_promises(cells: Cells, design: str) -> None:
    assert cells["use_cases_downtime", design]["within_guarantees"] is True


def test_after_downtime_the_poller_has_done_all_that_is_inside_the_database_and_missed_what_leaves_it(
    cells: Cells,
) -> None:
    missed = of_kinds(cells["use_cases_downtime", "pull_worker"], "missed")

    assert missed["event-reminder"] + missed["ask-for-review"] > 0
    # A status that says "open" is found whenever somebody looks; it may be late, and is not lost.
    assert not set(missed) & set(STATEMENTS)


def test_the_read_model_misses_nothing_of_any_kind(cells: Cells) -> None:
    assert cells["use_cases_downtime", "push_readmodel"]["outcome"] == "pass"


@pytest.mark.full
@pytest.mark.parametrize("design", ["pull_worker", "push_readmodel"])
def test_a_crash_repeats_reminders_and_pays_nobody_twice(wages: Cells, design: str) -> None:
    cell = wages["wages", design]
    paid = Counter(record["op"] for record in delivered(cell) if kind(record) == "pay-errand")

    assert of_kinds(cell, "duplicate")["event-reminder"] > 0
    assert len(paid) == 40
    assert set(paid.values()) == {1}


@pytest.mark.full
def test_the_queue_pays_nobody_twice_and_owes_what_the_dead_worker_held(wages: Cells) -> None:
    cell = wages["wages", "oban_style_queue"]

    assert of_kinds(cell, "duplicate") == Counter()
    assert of_kinds(cell, "missed")["pay-errand"] > 0
