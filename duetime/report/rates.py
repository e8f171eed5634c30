"""Rates of failed runs, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

Z = NormalDist().inv_cdf(0.975)
"""For 95 % intervals."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One cell over several seeds: of `n` judged runs, `bad` failed; `unknown` runs proved nothing.

    The unit is the run, because the notifications of one run are not independent.
    """

    scenario: str
    design: str
    bad: int
    n: int
    unknown: int

    def interval(self) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927); without a failure, the rule of three (Hanley, Lippman-Hand 1983)."""
        if not self.n:
            return 0.0, 1.0
        if not self.bad:
            return 0.0, min(1.0, 3 / self.n)
        rate, z2 = self.bad / self.n, Z * Z
        middle = (rate + z2 / (2 * self.n)) / (1 + z2 / self.n)
        half = Z / (1 + z2 / self.n) * sqrt(rate * (1 - rate) / self.n + z2 / (4 * self.n**2))
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        if not self.n:
            return "no judged run"
        if not self.bad:
            return f"0/{self.n} (≤ 3/{self.n})"
        low, high = self.interval()
        return f"{self.bad}/{self.n} ({low:.0%} to {high:.0%})"

    def to_json(self) -> dict[str, Any]:
        low, high = self.interval()
        return {
            "scenario": self.scenario,
            "design": self.design,
            "bad": self.bad,
            "n": self.n,
            "unknown": self.unknown,
            "interval": [round(low, 4), round(high, 4)],
        }


def labelled(cells: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the cells with the factor of a slow run in the name of its scenario; `base` is the name without it."""
    return [
        {
            **cell,
            "base": cell["scenario"],
            "scenario": cell["scenario"] + (f" (slow {cell['slow']:g})" if cell.get("slow", 1) != 1 else ""),
        }
        for cell in cells
    ]


def rates(cells: Iterable[Mapping[str, Any]]) -> list[Rate]:
    """One rate for each scenario and design, in the order of their first cells; without cells not applicable."""
    outcomes: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell["outcome"] != "not applicable":
            outcomes.setdefault((cell["scenario"], cell["design"]), []).append(cell["outcome"])
    return [
        Rate(scenario, design, found.count("fail"), len(found) - found.count("unknown"), found.count("unknown"))
        for (scenario, design), found in outcomes.items()
    ]
