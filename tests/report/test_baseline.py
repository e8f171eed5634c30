"""A baseline accuses only what got worse, and by more than chance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from duetime.errors import BadUsage
from duetime.report.baseline import ALPHA, Baseline, Compared, Place, Planned, fisher
from duetime.report.formats import Outcome, written
from tests.report.test_formats import cell, missed

CRASH = Place("crash", "mine", 1.0)


def stored(tmp_path: Path, cells: Sequence[dict[str, Any]], **more: Any) -> Baseline:
    file = tmp_path / "baseline.json"
    file.write_text(json.dumps({"format": 1, "cells": cells, **more}))
    return Baseline(file)


def runs(bad: int, of: int, *, kind: str = "missed", kept: bool = True, **more: Any) -> list[dict[str, Any]]:
    """`of` runs, of which the first `bad` have a violation of `kind`."""
    violations = {"violations": {kind: 1}, "within_guarantees": kept}
    return [
        missed(seed=seed, **violations, **more) if seed <= bad else cell(seed=seed, **more)
        for seed in range(1, of + 1)
    ]  # fmt: skip


def compared(tmp_path: Path, before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> Compared:
    return stored(tmp_path, before).compare(now)


@pytest.mark.parametrize(
    ("bad", "of", "bad_before", "of_before", "p"),
    # The first is Fisher's lady tasting tea; where none failed before, it is one of the ways to choose the failures.
    [(3, 4, 1, 4, 17 / 70), (6, 20, 0, 20, 38_760 / 3_838_380), (5, 5, 0, 5, 1 / 252), (0, 5, 5, 5, 1.0)],
)
def test_the_probability_is_that_of_fishers_exact_test(
    bad: int, of: int, bad_before: int, of_before: int, p: float
) -> None:
    assert fisher(bad, of, bad_before, of_before) == pytest.approx(p, rel=1e-5)


@pytest.mark.parametrize(("before", "now"), [(0, 6), (2, 18), (10, 19)])
def test_a_rate_that_rose_beyond_chance_is_worse(tmp_path: Path, before: int, now: int) -> None:
    [worse] = compared(tmp_path, runs(before, 20), runs(now, 20)).worse

    assert (worse.place, worse.kinds, worse.before, worse.now) == ("crash / mine", ["missed"], (before, 20), (now, 20))
    assert f"missed in {now} of 20 runs, before in {before} of 20 (p = " in worse.sentence


def test_the_conclusion_counts_cells(tmp_path: Path) -> None:
    assert compared(tmp_path, runs(0, 20), runs(20, 20)).conclusion == "1 of 1 cell got worse"
    assert compared(tmp_path, runs(0, 20), runs(1, 20)).conclusion == "nothing got worse in 1 cell"


@pytest.mark.parametrize(("before", "now"), [(0, 1), (0, 4), (2, 6), (18, 2), (20, 20)])
def test_a_rate_that_chance_explains_or_that_fell_is_not_worse(tmp_path: Path, before: int, now: int) -> None:
    assert compared(tmp_path, runs(before, 20), runs(now, 20)).worse == []


def test_each_kind_of_violation_has_its_own_rate(tmp_path: Path) -> None:
    found = compared(tmp_path, runs(20, 20), runs(20, 20, kind="duplicate"))

    assert [worse.kinds for worse in found.worse] == [["duplicate"]]
    assert found.is_worse(missed(violations={"duplicate": 1}, within_guarantees=True))
    assert not found.is_worse(missed(within_guarantees=True))
    assert not found.is_worse(missed(scenario="calm", violations={"duplicate": 1}))


def test_a_guarantee_that_was_kept_and_is_broken_now_is_worse(tmp_path: Path) -> None:
    [worse] = compared(tmp_path, runs(20, 20), runs(20, 20, kept=False)).worse

    assert worse.kinds == ["a broken guarantee"]


def test_of_a_single_run_only_a_new_kind_is_worse(tmp_path: Path) -> None:
    before = [missed(violations={"missed": 1, "late": 3})]

    assert compared(tmp_path, before, [missed(violations={"missed": 40})]).worse == []
    [worse] = compared(tmp_path, before, [missed(violations={"missed": 1, "phantom": 1})]).worse
    assert worse.sentence == "phantom, which the baseline does not have"


def test_an_unchanged_comparison_is_accused_in_less_than_one_of_twenty(tmp_path: Path) -> None:
    random, accused, comparisons = Random(1), 0, 200
    rates = [0.0, 0.0, 0.05, 0.1, 0.3, 0.5, 0.5, 0.7, 0.9, 1.0, 1.0, 1.0]

    def drawn() -> list[dict[str, Any]]:
        return [
            missed(design=f"d{n}", seed=seed, within_guarantees=True) if random.random() < rate
            else cell(f"d{n}", seed=seed)
            for n, rate in enumerate(rates)
            for seed in range(20)
        ]  # fmt: skip

    for _ in range(comparisons):
        accused += bool(compared(tmp_path, drawn(), drawn()).worse)

    assert accused / comparisons < ALPHA


def test_five_runs_see_a_design_that_fails_always_now_in_every_cell(tmp_path: Path) -> None:
    places = [f"d{n}" for n in range(12)]
    before = [one for design in places for one in runs(0, 5, design=design)]
    now = [one for design in places for one in runs(5, 5, design=design)]

    assert len(compared(tmp_path, before, now).worse) == 12


def test_a_run_that_proves_nothing_is_left_out_of_the_rate(tmp_path: Path) -> None:
    unknown = [cell(seed=seed, outcome="unknown", within_guarantees=None) for seed in range(21, 24)]

    found = compared(tmp_path, [*runs(0, 20), *unknown], [*runs(6, 20), *unknown])
    assert [worse.now for worse in found.worse] == [(6, 20)]


@pytest.mark.parametrize("where", ["the baseline", "this command"])
def test_a_cell_that_proves_nothing_is_named_and_neither_better_nor_worse(tmp_path: Path, where: str) -> None:
    unknown = [cell(seed=seed, outcome="unknown", within_guarantees=None) for seed in range(1, 21)]
    before, now = (unknown, runs(6, 20)) if where == "the baseline" else (runs(0, 20), unknown)

    found = compared(tmp_path, before, now)
    assert found.worse == []
    assert found.unproven == [f"crash / mine: 0 of 20 runs of {where} could be judged, and 5 are needed"]


def test_what_was_and_is_not_applicable_is_as_it_was(tmp_path: Path) -> None:
    absent = [cell(outcome="not applicable", within_guarantees=None)]

    found = compared(tmp_path, absent, absent)
    assert (found.worse, found.unproven) == ([], [])
    assert compared(tmp_path, [cell()], absent).unproven == ["crash / mine: not applicable any more"]


def planned(*, place: Place = CRASH, seeds: Sequence[int] = (1,), plan_hash: str = "") -> list[Planned]:
    return [Planned(place, seed, plan_hash) for seed in seeds]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (planned(place=Place("downtime", "mine", 1.0)), "has no downtime / mine, only crash / mine; to make it anew"),
        (planned(place=Place("crash", "mine", 2.5)), r"has no crash \(slow 2.5\) / mine, only crash / mine"),
        (planned(place=Place("crash", "other", 1.0)), "has no crash / other, only crash / mine"),
        (planned(seeds=[2]), "has seed 1 of crash / mine, and this command seed 2; write --seed 1, or to make it anew"),
        (planned(seeds=range(1, 21)), "has seed 1 of crash / mine, and this command seeds 1 to 20; write --seed 1"),
        (planned(plan_hash="b"), "is of another plan of crash / mine, seed 1: the scenario has changed since"),
    ],
)
def test_runs_that_the_baseline_does_not_have_are_refused(
    tmp_path: Path, wanted: Sequence[Planned], message: str
) -> None:
    with pytest.raises(BadUsage, match=message):
        stored(tmp_path, [cell(plan_hash="a")]).check_comparable(wanted)


def test_runs_of_two_comparisons_at_once_are_refused(tmp_path: Path) -> None:
    twice = [Planned(CRASH, seed, "") for seed in (1, 2, 3, 4, 5) * 2]

    with pytest.raises(BadUsage, match="two runs of crash / mine, seed 1"):
        stored(tmp_path, runs(0, 5)).check_comparable(twice)
    with pytest.raises(BadUsage, match="has two runs of crash / mine, seed 1"):
        stored(tmp_path, [*runs(0, 5), *runs(5, 5)])


def test_every_kind_that_got_worse_is_in_the_annotation(tmp_path: Path) -> None:
    now = [missed(seed=seed, violations={"missed": 1, **({"late": 1} if seed < 6 else {})}) for seed in range(1, 8)]
    found = compared(tmp_path, runs(0, 7), now)
    outcome = Outcome(cells=now, fails=[True] * 7, scenarios=["crash"], runs=tmp_path, compared=found)

    [error] = [line for line in written(outcome, "github").splitlines() if line.startswith("::error")]
    assert "missed in 7 of 7 runs" in error.replace("%2C", ",") and "late in 5 of 7 runs" in error


def test_too_few_runs_to_tell_a_change_from_chance_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="with 4 runs of a cell tells no change from chance; write --runs 1"):
        stored(tmp_path, runs(0, 4)).check_comparable(planned(seeds=range(1, 5)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[]", "is JSON, but not of a comparison"),
        ('{"format": 2, "outcome": "pass"}', "is JSON, but not of a comparison"),
        ('{"cells": []}', "is in format None, and this duetime compares with format 1"),
        ('{"format": 7, "cells": []}', "is in format 7, and this duetime compares with format 1"),
        ('{"format": 1, "cells": [{"seed": 1}]}', "has a cell that cannot be read \\(KeyError 'scenario'\\)"),
        ('{"format": 1, "cells": 3}', "has a cell that cannot be read"),
    ],
)
def test_a_file_that_is_no_comparison_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "baseline.json").write_text(text)

    with pytest.raises(BadUsage, match=message):
        Baseline(tmp_path / "baseline.json")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="cannot be read \\(No such file or directory\\)"):
        Baseline(tmp_path / "baseline.json")
