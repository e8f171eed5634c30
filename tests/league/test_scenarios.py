"""Which scenarios a league runs."""

from __future__ import annotations

from collections.abc import Iterable

from duetime.harness.plan import catalogue
from duetime.harness.plan.scenario import Scenario
from duetime.league.about import About
from duetime.league.document import document
from duetime.league.facts import facts_of
from duetime.league.scenarios import LEFT_OUT, of_the_league
from duetime.league.why import Explanations
from tests.league.cells import judged


def test_each_kind_of_fault_is_in_the_league() -> None:
    def kinds(scenarios: Iterable[Scenario]) -> set[tuple[str, str]]:
        return {(fault.kind, fault.target) for scenario in scenarios for fault in scenario.plan(1).faults}

    everywhere = kinds(catalogue.FULL)
    missing = everywhere - kinds(of_the_league())

    assert {scenario.name for scenario in of_the_league()} | LEFT_OUT.keys() == {each.name for each in catalogue.FULL}
    assert missing == {("kill", "after_delivery")}


def test_the_page_says_what_was_left_out() -> None:
    text = document(
        [judged("contender:rq", "backlog")], Explanations([]), About(facts={"contender:rq": facts_of("contender:rq")})
    )

    listed = text.partition("Left out, and to be had with `--scenarios`: ")[2].partition(".\n")[0]
    assert "`wages` (crash, with effects" in listed
    assert "`backlog`" not in listed
