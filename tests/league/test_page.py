"""The league's page: what its data says, and what its filters show in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from duetime.league.about import About
from duetime.league.claims import Claim
from duetime.league.facts import Facts, facts_of
from duetime.league.matrix import Judged
from duetime.league.objections import Objection
from duetime.league.page import data, write_page
from duetime.league.why import Explanations
from duetime.report.contender_mechanisms import Explained, Paragraph
from tests.browser import AssertAccessible, OpenPage, Screenshot
from tests.league.cells import judged

CELLS: Judged = [
    judged("push_readmodel"),
    judged("push_readmodel", "crash", explanation="1 duplicate.", duplicate=1),
    judged("contender:rq", seed=1, explanation="3 early.", early=3),
    judged("contender:rq", seed=2),
    judged("contender:rq", "crash", outcome="not applicable", explanation="the run is too short"),
    judged("contender:rq:tuned", "downtime", outcome="unknown", explanation="Unknown: busy."),
    judged("contender:sidekiq", "downtime", explanation="2 lost.", missed=2, lost=2),
]
CUT = Paragraph("rq", "Due times are cut.", (Explained(("*",), None, frozenset({"early"})),), ("`rq/registry.py:650`",))
GONE = Paragraph("sidekiq", "Gone.", (Explained(("*",), None, frozenset({"missed"})),), ("[wiki](https://x.org/)",))
CLAIM = Claim(entrant="rq", says="On time.", source="https://python-rq.org/", refuted_by=["early"])
OBJECTION = Objection("rq", "Cut by us.", "../contenders/rq/README.md#objections-that-remain")


def facts() -> dict[str, Facts]:
    return {place.design.name: facts_of(place.design.name) for place, _ in CELLS}


def test_a_cell_has_its_rate_its_reasons_and_its_runs() -> None:
    rows = {row["design"]: row for row in data(CELLS, Explanations([CUT, GONE]), facts())["rows"]}

    cell = rows["rq"]["cells"]["calm"]
    assert (cell["failing"], cell["judged"], cell["rate"]) == (1, 2, "1/2 (9% to 91%)")
    assert [(run["seed"], run["kinds"]) for run in cell["runs"]] == [(1, {"early": 3}), (2, {})]
    assert cell["runs"][0]["command"].endswith("run contender:rq calm --seed 1")
    assert rows["rq"]["cells"]["crash"]["not_applicable"] == "the run is too short"
    assert rows["rq"]["lateness"] == {"p50": 0.015, "p99": 0.15}
    assert rows["rq:tuned"]["lateness"] is None


def test_a_source_is_a_link_or_a_line() -> None:
    reasons = data(CELLS, Explanations([CUT, GONE]), facts())["reasons"]

    assert [reason["sources"] for reason in reasons if reason["entrant"] != "push_readmodel"] == [
        [{"text": "rq/registry.py:650", "address": ""}],
        [{"text": "wiki", "address": "https://x.org/"}],
    ]
    assert all(reason["page"].startswith("https://") for reason in reasons)


@pytest.fixture
def opened(tmp_path: Path, open_page: OpenPage) -> Callable[..., Page]:
    def opened(fragment: str = "", **options: object) -> Page:
        path = tmp_path / "league.html"
        explanations = Explanations([CUT, GONE])
        explanations.of(CELLS)
        write_page(path, CELLS, explanations, About(facts=facts(), claims=[CLAIM], objections=[OBJECTION]))
        page = open_page(f"{path.as_uri()}{fragment}", **options)
        page.wait_for_selector("body.ready")
        return page

    return opened


@pytest.mark.browser
def test_a_reader_sees_only_what_matters_to_them(opened: Callable[..., Page]) -> None:
    page = opened()
    expect(page.get_by_role("button", name="rq, calm: fails in 1 of 2 runs")).to_have_text("1/2")

    page.get_by_label("early", exact=True).uncheck()

    expect(page.get_by_role("button", name="rq, calm: nothing of what matters")).to_have_count(1)
    expect(page.get_by_role("button", name="sidekiq, downtime: fails in 1 of 1 runs")).to_have_count(1)
    page.get_by_label("missed", exact=True).uncheck()
    expect(page.get_by_role("button", name="sidekiq, downtime: nothing of what matters")).to_have_count(1)


@pytest.mark.browser
def test_filters_choose_entrants_and_faults(opened: Callable[..., Page]) -> None:
    page = opened()
    expect(page.get_by_role("status")).to_have_text("4 of 4 rows, 3 scenarios")

    page.get_by_label("Keeps jobs in").select_option("Redis")
    expect(page.get_by_role("status")).to_have_text("3 of 4 rows, 3 scenarios")
    page.get_by_label("Settings").select_option("tuned")
    expect(page.get_by_role("status")).to_have_text("1 of 4 rows, 3 scenarios")
    page.get_by_label("in the caller's transaction").check()
    expect(page.get_by_role("status")).to_have_text("0 of 4 rows, 3 scenarios")


@pytest.mark.browser
def test_a_cell_leads_to_its_runs_and_has_an_address(opened: Callable[..., Page]) -> None:
    page = opened()
    page.get_by_role("button", name="rq, calm: fails in 1 of 2 runs").click()

    detail = page.get_by_role("dialog", name="rq, calm")
    expect(detail).to_contain_text("Due times are cut. rq/registry.py:650")
    detail.get_by_text("seed 1:").click()
    expect(detail).to_contain_text("3 early.")
    expect(page).to_have_url(re.compile("#rq/calm$"))
    detail.get_by_role("button", name="Close").click()
    expect(detail).to_be_hidden()
    expect(page).not_to_have_url(re.compile("#"))


@pytest.mark.browser
@pytest.mark.parametrize("options", [{}, {"width": 390, "height": 844}, {"color_scheme": "dark"}])
def test_the_page_is_accessible_and_fits(
    opened: Callable[..., Page], assert_accessible: AssertAccessible, screenshot: Screenshot, options: dict[str, object]
) -> None:
    page = opened("#rq/crash", **options)
    expect(page.get_by_role("dialog")).to_contain_text("Not applicable: the run is too short.")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()

    expect(page.get_by_role("link", name="Cut by us.")).to_have_attribute("href", re.compile("^https://"))
    assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    screenshot(page, f"league-{'-'.join(map(str, options.values())) or 'wide'}")
