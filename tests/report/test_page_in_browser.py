"""The report in a real browser, opened from a disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from duetime.harness.runs.cell import stored_cell
from duetime.report.page import write_page
from tests.checker.small_histories import canary, delivery, fault, numbered, scheduled
from tests.checker.stored_runs import PLAN, close, write, write_lines

pytestmark = pytest.mark.browser

EMPTY = {"environment": {}, "workers": 1, "guarantees": {"delivery": "nothing", "transactional": True, "cancels": True}}
PROFILE = {**PLAN["profile"], "non_excusing_faults": []}


def stored(run_dir: Path, design: str, *came: tuple[str, float]) -> Path:
    """A run in which six fall due while everything is down, and `came` came."""
    (run_dir / "logs").mkdir(parents=True)
    write(run_dir / "plan.json", {**PLAN, **EMPTY, "profile": PROFILE, "design": design, "scenario": "downtime",
                                  "required_faults": [], "planned": {}, "faults": []})  # fmt: skip
    calls = [line for n in range(6) for line in scheduled(f"event-reminder:{n}:1/1", due_s=4.0 + n / 2, at_s=n / 4)]
    write_lines(run_dir / "history.jsonl", numbered(calls))
    canaries = [canary(n, due_s=2.0 * n, at_s=2.0 * n) for n in range(8)]
    write_lines(run_dir / "deliveries.jsonl", [*(delivery(op, at_s=at_s) for op, at_s in came), *canaries])
    write_lines(run_dir / "faults.jsonl", fault(inject_s=3.5, healed_s=7.0))
    write_lines(run_dir / "clock.jsonl", [{"wall_ns": 10**18, "mono_ns": 0}])
    return close(run_dir, at_s=15.0)


@pytest.fixture
def report(tmp_path: Path) -> str:
    """The address of a report about two designs in a downtime: one misses two and repeats one."""
    ops = [f"event-reminder:{n}:1/1" for n in range(6)]
    good = stored(tmp_path / "good", "push_readmodel", *((op, 7.2 + n / 20) for n, op in enumerate(ops)))
    bad = stored(tmp_path / "bad", "pull_worker", *((op, 7.5) for op in ops[2:]), (ops[5], 7.6))
    cells = [stored_cell(bad).to_json(), stored_cell(good).to_json()]
    return write_page(cells, tmp_path / "report.html", ideas={"downtime": "All are down."}).as_uri()


def ready(page: Page) -> Page:
    page.wait_for_selector("body.ready")
    return page


def test_where_a_part_is_drawn_the_page_says_so_and_counts_all(
    tmp_path: Path, visit: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duetime.report.page.DRAWN", 2)
    ops = [f"event-reminder:{n}:1/1" for n in range(6)]
    bad = stored(tmp_path / "bad", "pull_worker", *((op, 7.5) for op in ops[2:]), (ops[5], 7.6))
    page = ready(visit(write_page([stored_cell(bad).to_json()], tmp_path / "report.html", ideas={}).as_uri()))

    head = page.inner_text("#lanes header")
    assert "2 missed" in head and "1 duplicate" in head
    assert "drawn: 1 in 1, and all of what went wrong" in head
    assert page.inner_text("#how-many") == "3"


def test_a_cell_leads_to_its_lane_and_an_anomaly_to_its_story(
    report: str, visit: Callable[..., Page], picture: Callable[[Page, str], None]
) -> None:
    page = ready(visit(report))
    page.click('[data-design="pull_worker"][data-show]')
    page.click("#anomalies button:has-text('missed') >> nth=0")

    story = page.inner_text("#story")
    assert "missed" in story and "Reminder " in story and "workers killed" in story
    picture(page, "report-1280")
    # The address leads there again.
    again = ready(visit(page.url))
    assert again.inner_text("#story") == story


def test_the_keyboard_alone_steps_through_the_notifications_and_closes(report: str, visit: Callable[..., Page]) -> None:
    page = ready(visit(report))
    page.focus('.lane[data-design="pull_worker"] canvas')
    page.keyboard.press("ArrowRight")
    first = page.inner_text("#story h3")
    page.keyboard.press("ArrowRight")
    second = page.inner_text("#story h3")
    page.keyboard.press("ArrowDown")

    # What went wrong comes first.
    assert ("missed" in first or "duplicate" in first) and first != second
    assert page.evaluate("document.activeElement.closest('.lane').dataset.design") == "push_readmodel"
    page.keyboard.press("Escape")
    assert page.inner_text("#story") == ""


def test_the_table_has_the_same_facts(report: str, visit: Callable[..., Page]) -> None:
    page = ready(visit(report))
    page.click("#twin summary")
    page.wait_for_selector("#twin-rows tr")

    rows = page.eval_on_selector_all("#twin-rows tr", "rows => rows.map(row => row.innerText)")
    assert len(rows) == 12
    assert sum("missed" in row for row in rows) == 2
    assert sum("duplicate" in row for row in rows) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    report: str, visit: Callable[..., Page], accessible: Callable[[Page], None], scheme: str, picture: Any
) -> None:
    page = ready(visit(report, color_scheme=scheme, reduced_motion="reduce"))
    page.click("#anomalies button >> nth=0")

    accessible(page)
    picture(page, f"report-{scheme}")


def test_on_a_telephone_nothing_is_wider_than_the_screen(report: str, visit: Callable[..., Page], picture: Any) -> None:
    page = ready(visit(report, width=390, height=800))

    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture(page, "report-390")


def test_without_scripts_matrix_and_sentences_are_there(report: str, visit: Callable[..., Page]) -> None:
    page = visit(report, java_script_enabled=False)

    assert page.inner_text(".matrix td >> nth=0").startswith("fail")
    assert "Reminder " in page.inner_text(".sentences")
    assert not page.is_visible("#look")
