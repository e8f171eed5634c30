"""Rates of failed runs, with their intervals."""

from __future__ import annotations

from typing import Any

import pytest

from duetime.report.rates import Rate, rates


def cell(outcome: str, *, design: str = "d", scenario: str = "s") -> dict[str, Any]:
    return {"scenario": scenario, "design": design, "outcome": outcome}


def test_a_rate_without_a_bad_run_states_its_upper_limit() -> None:
    assert str(Rate("s", "d", bad=0, n=20, unknown=0)) == "0/20 (≤ 3/20)"


# Wilson's interval as statsmodels 0.14 gives it: proportion_confint(k, n, method="wilson").
@pytest.mark.parametrize(
    ("bad", "n", "low", "high"),
    [(1, 10, 0.0179, 0.4042), (5, 20, 0.1119, 0.4687), (20, 20, 0.8389, 1.0)],
)
def test_the_interval_of_some_bad_runs_is_wilsons(bad: int, n: int, low: float, high: float) -> None:
    assert Rate("s", "d", bad=bad, n=n, unknown=0).interval() == pytest.approx((low, high), abs=0.0001)


def test_unknown_and_not_applicable_runs_are_not_counted_as_judged() -> None:
    (rate,) = rates([cell("fail"), cell("pass"), cell("unknown"), cell("not applicable")])

    assert (rate.bad, rate.n, rate.unknown) == (1, 2, 1)


def test_without_a_judged_run_the_interval_is_zero_to_one() -> None:
    (rate,) = rates([cell("unknown")])

    assert rate.interval() == (0.0, 1.0)
    assert str(rate) == "no judged run"


def test_each_design_in_each_scenario_has_its_own_rate() -> None:
    found = rates([cell("fail"), cell("pass", design="e"), cell("pass", scenario="t")])

    assert [(rate.scenario, rate.design, rate.bad) for rate in found] == [("s", "d", 1), ("s", "e", 0), ("t", "d", 0)]
