"""What the report says first."""

from __future__ import annotations

from typing import Any

from duetime.report.opening import advice, opening


def cell(
    design: str, scenario: str, outcome: str = "pass", *, within: bool | None = True, **counts: int
) -> dict[str, Any]:
    return {"design": design, "scenario": scenario, "outcome": outcome, "within_guarantees": within, "counts": counts}


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
    assert said.proof == "Each violation is one that the design's own guarantees allow: the designs fail as documented."
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

    assert said.recommendation == "Ask the database at delivery time whether the notification is still wanted."


def test_advice_has_each_kind_once_with_its_cells_and_the_most_frequent_first() -> None:
    cells = [
        cell("a", "crash", "fail", missed=1, duplicate=1),
        cell("b", "crash", "fail", duplicate=5),
        cell("b", "calm", "unknown", within=None, early=1),
    ]

    assert [(change.label, change.cells) for change in advice(cells)] == [
        ("duplicate", (("crash", "a"), ("crash", "b"))),
        ("missed", (("crash", "a"),)),
    ]
