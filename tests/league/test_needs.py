"""Who answers a usual need: only what a judged run has shown counts for it."""

from __future__ import annotations

from duetime.league.facts import facts_of
from duetime.league.matrix import Judged
from duetime.league.needs import NEEDS, Answer, answer
from tests.league.cells import judged

TRANSACTIONAL, REDIS, _, BURST, LANGUAGES = NEEDS


def answered(need: object, *cells: object) -> Answer:
    found: Judged = list(cells)  # type: ignore[arg-type]  # pairs of a place and a cell
    assert need in NEEDS
    return answer(need, found, {place.design.name: facts_of(place.design.name) for place, _ in found})  # type: ignore[arg-type]  # it is one of NEEDS


def test_a_design_without_a_violation_that_counts_is_clean() -> None:
    found = answered(
        TRANSACTIONAL,
        judged("push_readmodel", "crash", duplicate=1),
        judged("push_readmodel", "downtime"),
        judged("contender:rq", "downtime"),
    )

    assert (found.clean, found.failing, found.unshown) == (["push_readmodel"], {}, {})


def test_one_run_that_shows_it_is_enough_and_is_counted() -> None:
    cells = [judged("pull_worker", "downtime", 1), judged("pull_worker", "downtime", 2, missed=2)]

    found = answered(TRANSACTIONAL, *cells)

    assert (found.clean, found.failing) == ([], {"pull_worker": (1, 2)})


def test_a_run_that_ends_before_the_design_recovers_shows_nothing() -> None:
    found = answered(
        REDIS,
        judged("contender:rq", "downtime"),
        judged("contender:rq", "crash", outcome="not applicable", explanation="the run is too short"),
        judged("contender:rq", "pause", outcome="unknown"),
        judged("contender:rq", "pause", 2),
    )

    assert (found.clean, found.unshown) == ([], {"contender:rq": ["crash"]})


def test_a_fault_that_has_no_target_is_not_missing() -> None:
    found = answered(
        LANGUAGES,
        judged("push_readmodel", "downtime"),
        judged("push_readmodel", "broker_restart_none", outcome="not applicable", explanation="no broker"),
    )

    assert (found.clean, found.unshown) == (["push_readmodel"], {})


def test_only_scenarios_of_the_need_count() -> None:
    found = answered(BURST, judged("push_readmodel", "burst"), judged("push_readmodel", "downtime", late=3))

    assert found.clean == ["push_readmodel"]


def test_a_scenario_in_which_only_others_ran_shows_nothing_of_a_design() -> None:
    found = answered(
        TRANSACTIONAL,
        judged("push_readmodel", "downtime"),
        judged("push_readmodel:partitioned", "downtime"),
        judged("push_readmodel", "crash"),
    )

    assert (found.clean, found.unshown) == (["push_readmodel"], {"push_readmodel:partitioned": ["crash"]})
