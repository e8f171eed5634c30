"""What the report says first."""

from __future__ import annotations

from typing import Any

from duetime.report.conclusions import conclusions
from duetime.report.opening import advice, opening


def cell(
    design: str, scenario: str, outcome: str = "pass", *, within: bool | None = True, **counts: int
) -> dict[str, Any]:
    return {
        "design": design, "scenario": scenario, "outcome": outcome, "within_guarantees": within, "counts": counts,
        "violations": counts, "weakness": "it forgets",
    }  # fmt: skip


def test_the_design_with_the_fewest_losses_is_recommended_with_the_fix_of_its_own_violations() -> None:
    cells = [
        cell("poller", "calm"),
        cell("poller", "crash", "fail", missed=4, duplicate=2),
        cell("model", "calm"),
        cell("model", "crash", "fail", duplicate=9),
    ]

    said = opening(cells)

    assert said.best == "model missed nothing and passed 1 of 2 runs; the other had 9 duplicate."
    assert said.worst == "The worst run is poller in crash: 4 missed, 2 duplicate."
    assert said.proof == "Each violation is one that its design's guarantees allow: a documented failure."
    assert said.recommendation.startswith("Choose model, and send an idempotency key")
    assert said.worst_cell is cells[1]


def test_a_broken_guarantee_is_worse_than_many_allowed_losses() -> None:
    cells = [cell("a", "crash", "fail", missed=40), cell("b", "crash", "fail", within=False, duplicate=1)]

    said = opening(cells)

    assert said.worst == "The worst run is b in crash: 1 duplicate, and that breaks its guarantee."
    assert said.proof == "b breaks its own guarantee."
    assert said.recommendation.startswith("None is ready as it is. a fails least; keep it in a database table")


def test_a_design_is_not_better_for_having_run_in_easier_scenarios() -> None:
    cells = [
        cell("lucky", "calm"),
        cell("lucky", "crash", "fail", duplicate=10),
        cell("model", "crash", "fail", duplicate=1),
    ]

    assert opening(cells).best.startswith("model ")
    only_calm = opening([cell("lucky", "calm"), cell("model", "crash", "fail", duplicate=1)])
    assert only_calm.best == "There is no scenario in which every design was judged."
    assert "Choose" not in only_calm.recommendation


def test_a_failure_without_a_stated_guarantee_is_not_called_documented() -> None:
    own = cell("celery:shop:app", "crash", "fail", within=None, missed=4)

    assert opening([own]).proof == (
        "No guarantee of celery:shop:app was stated, so that failure is not a documented one."
    )
    [conclusion] = conclusions([{**own, "counts": {"owed": 9, "missed": 4}}])
    assert (conclusion.sentence, conclusion.within_guarantees) == ("missed 4 of 9", None)


def test_a_mechanism_without_a_fix_of_its_own_recommends_the_general_advice() -> None:
    late = cell("contender:rq", "dual_write", "fail", missed=4)

    assert opening([late]).recommendation == opening([{**late, "design": "mine"}]).recommendation


def test_passes_alone_recommend_no_design() -> None:
    said = opening([cell("a", "calm"), cell("b", "calm")])

    assert said.best == "a and b passed 2 of 2 runs."
    assert said.worst == "No run had a violation."
    assert "do not tell the designs apart" in said.recommendation


def test_unknown_runs_are_counted_and_decide_nothing() -> None:
    broken = cell("a", "calm", "unknown", within=None)

    said = opening([broken, cell("b", "calm")])
    assert said.worst == "a in calm is unknown."
    assert said.proof == "Of 2 runs, 1 is unknown and proves nothing."
    assert said.worst_cell is broken
    assert "repeat them" in opening([broken]).recommendation


def test_one_failing_design_gets_its_fix_and_no_comparison() -> None:
    said = opening([cell("a", "crash", "fail", phantom=2)])

    assert said.best == "a missed nothing and passed none of 1 run: 2 phantom."
    assert said.recommendation == "Ask the database at delivery time whether the notification is still wanted."


def test_the_fix_is_that_of_the_mechanism_where_one_is_known() -> None:
    cells = [cell("oban_style_queue", "downtime", "fail", missed=3), cell("push_readmodel", "downtime")]

    [change] = advice(cells)

    assert change.mechanism and change.mechanism.fix == change.fix
    assert change.where == {"oban_style_queue": "missed 3 in downtime"}
    assert opening(cells[:1]).recommendation == f"{change.fix[:1].upper()}{change.fix[1:]}."
    assert opening(cells).recommendation == "Choose push_readmodel."


def test_a_design_of_somebody_else_gets_the_checkers_advice_and_its_own_weakness() -> None:
    [change] = advice([cell("mine", "crash", "fail", missed=1)])

    assert (change.mechanism, change.cause) == (
        None, "it is not known here; the weakness that the design states: it forgets",
    )  # fmt: skip
    assert change.fix.startswith("keep it in a database table")


def test_what_would_have_prevented_the_worst_comes_first_and_each_change_once() -> None:
    cells = [
        cell("push_readmodel", "crash", "fail", duplicate=50),
        cell("pull_worker", "downtime", "fail", missed=1),
        cell("pull_worker:claimed", "downtime", "fail", missed=2),
        cell("mine", "calm", "unknown", within=None, early=1),
    ]

    assert [list(change.where) for change in advice(cells)] == [
        ["pull_worker", "pull_worker:claimed"],
        ["push_readmodel"],
    ]
