"""The report in Chromium, opened from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from duetime.checker import judge_history
from duetime.harness.runs.cell import stored_cell
from duetime.history import load
from duetime.report.page import write_page
from duetime.report.picture import picture
from tests.browser import AssertAccessible, OpenPage, Screenshot
from tests.checker.small_histories import canary, delivery, fault, numbered, scheduled
from tests.checker.stored_runs import PLAN, close, write, write_lines

pytestmark = pytest.mark.browser

EMPTY = {"environment": {}, "workers": 1, "guarantees": {"delivery": "nothing", "transactional": True, "cancels": True}}
PROFILE = {**PLAN["profile"], "non_excusing_faults": []}


def stored(run_dir: Path, design: str, *deliveries: tuple[str, float]) -> Path:
    """A run of six notifications that fall due while all workers are down, with these deliveries: op and second."""
    (run_dir / "logs").mkdir(parents=True)
    write(run_dir / "plan.json", {**PLAN, **EMPTY, "profile": PROFILE, "design": design, "scenario": "downtime",
                                  "required_faults": [], "planned": {}, "faults": []})  # fmt: skip
    calls = [line for n in range(6) for line in scheduled(f"event-reminder:{n}:1/1", due_s=4.0 + n / 2, at_s=n / 4)]
    write_lines(run_dir / "history.jsonl", numbered(calls))
    canaries = [canary(n, due_s=2.0 * n, at_s=2.0 * n) for n in range(8)]
    write_lines(run_dir / "deliveries.jsonl", [*(delivery(op, at_s=at_s) for op, at_s in deliveries), *canaries])
    write_lines(run_dir / "faults.jsonl", fault(inject_s=3.5, healed_s=7.0))
    write_lines(run_dir / "clock.jsonl", [{"wall_ns": 10**18, "mono_ns": 0}])
    return close(run_dir, at_s=15.0)


@pytest.fixture
def report(tmp_path: Path) -> str:
    """URL of a report about two designs in a downtime: one misses two and delivers one twice."""
    ops = [f"event-reminder:{n}:1/1" for n in range(6)]
    good = stored(tmp_path / "good", "push_readmodel", *((op, 7.2 + n / 20) for n, op in enumerate(ops)))
    bad = stored(tmp_path / "bad", "pull_worker", *((op, 7.5) for op in ops[2:]), (ops[5], 7.6))
    cells = [stored_cell(bad).to_json(), stored_cell(good).to_json()]
    return write_page(cells, tmp_path / "report.html", descriptions={"downtime": "All are down."}).as_uri()


def ready(page: Page) -> Page:
    page.wait_for_selector("body.ready")
    return page


def test_a_page_with_a_sample_says_so_and_counts_all_violations(
    tmp_path: Path, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duetime.report.picture.DRAWN", 2)
    ops = [f"event-reminder:{n}:1/1" for n in range(6)]
    bad = stored(tmp_path / "bad", "pull_worker", *((op, 7.5) for op in ops[2:]), (ops[5], 7.6))
    page = ready(
        open_page(write_page([stored_cell(bad).to_json()], tmp_path / "report.html", descriptions={}).as_uri())
    )

    head = page.inner_text("#lanes header")
    assert "2 missed" in head and "1 duplicate" in head
    assert "drawn: 1 in 1, and all of those with violations" in head
    assert page.inner_text("#how-many") == "3"


def test_the_page_opens_on_the_worst_run_below_the_conclusion(report: str, open_page: OpenPage) -> None:
    page = ready(open_page(report))

    assert page.inner_text(".answer").startswith("push_readmodel passed 1 of 1 run.")
    assert page.inner_text("#cell h3").startswith("The worst run: pull_worker in downtime")
    assert page.get_attribute(".matrix [aria-current]", "data-design") == "pull_worker"
    # Its lane is the first, whatever the order of the designs.
    assert page.inner_text(".lane >> nth=0").startswith("pull_worker")
    assert page.evaluate("scrollY") == 0


def test_a_cell_opens_its_lane_and_a_violation_opens_its_events(
    report: str, open_page: OpenPage, screenshot: Screenshot
) -> None:
    page = ready(open_page(report, reduced_motion="reduce"))
    page.click('.matrix [data-design="push_readmodel"]')
    page.wait_for_selector(".lane[data-design='push_readmodel']:first-of-type canvas:focus")
    page.click("#violations a:has-text('missed') >> nth=0")
    page.wait_for_selector(".story")

    story = page.inner_text("#story")
    assert "missed" in story and "Reminder " in story and "workers killed" in story
    screenshot(page, "report-1280")
    # The address of the page keeps the choice.
    again = ready(open_page(page.url))
    assert again.inner_text("#story") == story


def test_the_link_of_a_violation_opens_the_page_on_it(report: str, open_page: OpenPage) -> None:
    page = ready(open_page(report, permissions=["clipboard-read", "clipboard-write"]))
    last = page.locator("#violations li:has-text('duplicate')")
    last.locator("button").click()
    last.locator("button:has-text('Copied')").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")

    opened = ready(open_page(link, reduced_motion="reduce"))

    assert link.startswith("file:///") and last.locator("a >> nth=0").get_attribute("href") == f"#{link.split('#')[1]}"
    assert opened.inner_text(".story [aria-current]").startswith("Duplicate.")
    assert opened.evaluate("document.activeElement.className") == "story"
    box = opened.locator(".story").bounding_box()
    assert box and 0 <= box["y"] < 900
    # The list of the same page has links too, which change the address only.
    opened.click("#violations a:has-text('missed') >> nth=0")
    opened.locator(".story [aria-current]:has-text('Missed.')").wait_for()


def test_each_violation_links_to_its_cause_and_says_what_to_do(report: str, open_page: OpenPage) -> None:
    page = ready(open_page(report))
    found = page.locator("#violations li")
    links = found.get_by_text("why", exact=True).evaluate_all("links => links.map(link => link.href)")

    assert len(links) == found.count() == 3
    assert {link.rpartition("/")[2] for link in links} == {"findings.md#no-poll", "findings.md#accumulated-ticks"}
    page.click("#violations a:has-text('missed') >> nth=0")
    story = page.locator(".story p[aria-current]").inner_text()
    assert "Why? No poll ran while it was due" in story and "In your code: Record what was delivered" in story
    # The checker's general advice would contradict it.
    assert "Fix:" not in story


def test_a_link_to_a_run_that_the_page_does_not_have_says_so(report: str, open_page: OpenPage) -> None:
    page = ready(open_page(f"{report}#show=calm+seed+9&design=mine&key=a"))

    assert "does not have" in page.inner_text("#not-here")
    assert page.inner_text("#cell h3").startswith("The worst run: pull_worker")
    page.click('.matrix [data-design="push_readmodel"]')
    page.wait_for_selector("#not-here", state="hidden")


def test_the_story_is_below_its_lane_and_is_closed_with_the_run(report: str, open_page: OpenPage) -> None:
    page = ready(open_page(report))
    page.focus('.lane[data-design="push_readmodel"] canvas')
    page.keyboard.press("ArrowRight")
    assert page.locator('.lane[data-design="push_readmodel"] .story').count() == 1

    page.click('.matrix [data-design="pull_worker"]')
    page.wait_for_selector(".story", state="detached")


DRAWS_AGAIN = """() => {
  const cut = [], fillText = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (words, x, y) {
    const width = this.measureText(words).width;
    const left = x - ({ center: width / 2, right: width }[this.textAlign] ?? 0), matrix = this.getTransform();
    const ends = [left, left + width].map((at) => matrix.transformPoint({ x: at, y }).x);
    if (Math.min(...ends) < -1 || Math.max(...ends) > this.canvas.width + 1) cut.push(words);
    return fillText.call(this, words, x, y);
  };
  for (const button of ["in", "right", "all"]) document.getElementById(button).click();
  return cut;
}"""
"""Draws the lanes three times; returns the texts that go over the edge of their canvas."""
BEYOND_THE_EDGE = """() => [...document.body.querySelectorAll("*")]
  .filter((node) => node.getBoundingClientRect().right > innerWidth + 1 && !node.closest(".wide"))
  .map((node) => node.outerHTML.slice(0, 100))"""


def test_labels_in_a_lane_end_at_its_edges(report: str, open_page: OpenPage) -> None:
    page = ready(open_page(report, width=390, height=844))

    assert page.evaluate(DRAWS_AGAIN) == []


def test_notifications_can_be_selected_and_closed_with_the_keyboard(report: str, open_page: OpenPage) -> None:
    page = ready(open_page(report))
    page.focus('.lane[data-design="pull_worker"] canvas')
    page.keyboard.press("ArrowRight")
    first = page.inner_text("#story h3")
    page.keyboard.press("ArrowRight")
    second = page.inner_text("#story h3")
    page.keyboard.press("ArrowDown")

    # Violations come first.
    assert ("missed" in first or "duplicate" in first) and first != second
    assert page.evaluate("document.activeElement.closest('.lane').dataset.design") == "push_readmodel"
    page.keyboard.press("Escape")
    assert page.inner_text("#story") == ""


def test_the_table_has_the_same_facts_as_the_lanes(report: str, open_page: OpenPage) -> None:
    page = ready(open_page(report))
    page.click("#table summary")
    page.wait_for_selector("#table-rows tr")

    rows = page.eval_on_selector_all("#table-rows tr", "rows => rows.map(row => row.innerText)")
    assert len(rows) == 12
    assert sum("missed" in row for row in rows) == 2
    assert sum("duplicate" in row for row in rows) == 1


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(
    report: str,
    open_page: OpenPage,
    assert_accessible: AssertAccessible,
    scheme: str,
    width: int,
    screenshot: Screenshot,
) -> None:
    page = ready(open_page(report, width=width, color_scheme=scheme, reduced_motion="reduce"))
    page.click("#violations a >> nth=0")
    page.wait_for_selector(".story")

    assert_accessible(page)
    screenshot(page, f"report-{width}-{scheme}")


@pytest.fixture
def many(tmp_path: Path) -> str:
    """URL of a report about thirteen designs in ten scenarios, all with long names and the same bad run."""
    ops = [f"event-reminder:{n}:1/1" for n in range(6)]
    run_dir = stored(tmp_path / "bad", "pull_worker", *((op, 7.5) for op in ops[2:]), (ops[5], 7.6))
    history, bad = load(run_dir), stored_cell(run_dir).to_json()
    cells = [
        {**bad, "scenario": f"broker_restart_{m}", "design": f"contender:graphile_worker_{n}:tuned"}
        for m in range(10)
        for n in range(13)
    ]
    drawn = {str(run_dir): picture(run_dir, history, judge_history(history))}
    return write_page(cells, tmp_path / "many.html", descriptions={}, pictures=drawn).as_uri()


@pytest.mark.parametrize("name", ["report", "many"])
def test_nothing_is_wider_than_the_screen_of_a_telephone(
    name: str, request: pytest.FixtureRequest, open_page: OpenPage, screenshot: Screenshot
) -> None:
    page = ready(open_page(request.getfixturevalue(name), width=390, height=844))

    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(BEYOND_THE_EDGE) == []
    # Not even inside a region that scrolls.
    for table in (".matrix", ".sentences"):
        assert page.locator(table).evaluate("table => table.scrollWidth") <= 390
    screenshot(page, f"{name}-390")


def test_a_matrix_of_thirteen_designs_fits_beside_its_scenarios(many: str, open_page: OpenPage) -> None:
    page = ready(open_page(many, width=1280, height=800))

    assert page.locator(".matrix").evaluate("table => table.scrollWidth <= table.parentElement.clientWidth")
    # A long table of all runs is closed, so that the page can be scrolled.
    assert page.locator(".sentences").is_hidden()


def test_the_tables_are_visible_without_scripts(report: str, open_page: OpenPage) -> None:
    page = open_page(report, java_script_enabled=False)

    assert page.inner_text(".matrix td >> nth=0").startswith("fail")
    assert "Reminder " in page.inner_text(".sentences")
    assert not page.is_visible("#runs-section")
