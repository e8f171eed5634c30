"""A rate is k of n with its interval, and nothing that was not seen is called impossible."""

from __future__ import annotations

from typing import Any

import pytest

from duetime.report.rates import Rate, rates


def cell(outcome: str, *, design: str = "d", scenario: str = "s") -> dict[str, Any]:
    return {"scenario": scenario, "design": design, "outcome": outcome}


def test_no_bad_run_of_n_is_not_zero_per_cent() -> None:
    assert str(Rate("s", "d", bad=0, n=20, unknown=0)) == "0/20 (≤ 3/20)"


# Wilson's interval as statsmodels 0.14 gives it: proportion_confint(k, n, method="wilson").
@pytest.mark.parametrize(
    ("bad", "n", "low", "high"),
    [(1, 10, 0.0179, 0.4042), (5, 20, 0.1119, 0.4687), (20, 20, 0.8389, 1.0)],
)
def test_some_bad_runs_come_with_wilsons_interval(bad: int, n: int, low: float, high: float) -> None:
    assert Rate("s", "d", bad=bad, n=n, unknown=0).interval() == pytest.approx((low, high), abs=0.0001)


def test_a_run_that_proves_nothing_counts_for_nothing() -> None:
    (rate,) = rates([cell("fail"), cell("pass"), cell("unknown"), cell("not applicable")])

    assert (rate.bad, rate.n, rate.unknown) == (1, 2, 1)


def test_where_no_run_says_anything_nothing_is_known() -> None:
    (rate,) = rates([cell("unknown")])

    assert rate.interval() == (0.0, 1.0)
    assert str(rate) == "no run says anything"


def test_each_design_in_each_scenario_has_a_rate_of_its_own() -> None:
    found = rates([cell("fail"), cell("pass", design="e"), cell("pass", scenario="t")])

    assert [(rate.scenario, rate.design, rate.bad) for rate in found] == [("s", "d", 1), ("s", "e", 0), ("t", "d", 0)]
