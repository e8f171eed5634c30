"""All six use cases through each design, in real runs: their guarantees, and effects inside the database."""

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


def kind_of(record: dict[str, Any]) -> str:
    return str(record["key"].partition(":")[0])


def deliveries(cell: dict[str, Any]) -> list[dict[str, Any]]:
    records = json_lines(Path(cell["run_dir"]) / "deliveries.jsonl")
    return [record for record in records if record["worker"] != "canary"]


def violations_by_kind(cell: dict[str, Any], label: str) -> Counter[str]:
    """Count the violations with this label by the kind of notification."""
    violations = json.loads((Path(cell["run_dir"]) / "results.json").read_text())["violations"]
    return Counter(violation["op"].partition(":")[0] for violation in violations if violation["label"] == label)


@pytest.mark.parametrize("design", DESIGNS)
def test_every_use_case_goes_through_every_design(cells: Cells, design: str) -> None:
    cell = cells["use_cases_downtime", design]

    # All messages of one kind may be due during the downtime, and then the poller misses them all.
    assert {kind_of(record) for record in deliveries(cell)} | set(violations_by_kind(cell, "missed")) == KINDS
    calls = json_lines(Path(cell["run_dir"]) / "history.jsonl")
    assert {kind_of(call) for call in calls if call.get("f") == "cancel"} == KINDS


@pytest.mark.parametrize("design", DESIGNS)
def test_every_cell_is_within_its_guarantees(cells: Cells, design: str) -> None:
    assert cells["use_cases_downtime", design]["within_guarantees"] is True


def test_after_downtime_the_poller_has_missed_messages_but_no_effect_inside_the_database(
    cells: Cells,
) -> None:
    missed = violations_by_kind(cells["use_cases_downtime", "pull_worker"], "missed")

    assert missed["event-reminder"] + missed["ask-for-review"] > 0
    # The next poll finds an overdue row by its status, so it is late and not missed.
    assert not set(missed) & set(STATEMENTS)


def test_the_read_model_passes_after_downtime(cells: Cells) -> None:
    assert cells["use_cases_downtime", "push_readmodel"]["outcome"] == "pass"


@pytest.mark.full
@pytest.mark.parametrize("design", ["pull_worker", "push_readmodel"])
def test_a_crash_duplicates_reminders_but_no_payment(wages: Cells, design: str) -> None:
    cell = wages["wages", design]
    paid = Counter(record["op"] for record in deliveries(cell) if kind_of(record) == "pay-errand")

    assert violations_by_kind(cell, "duplicate")["event-reminder"] > 0
    assert len(paid) == 40
    assert set(paid.values()) == {1}


@pytest.mark.full
def test_a_crash_makes_the_queue_miss_payments_but_duplicate_none(wages: Cells) -> None:
    cell = wages["wages", "oban_style_queue"]

    assert violations_by_kind(cell, "duplicate") == Counter()
    assert violations_by_kind(cell, "missed")["pay-errand"] > 0
