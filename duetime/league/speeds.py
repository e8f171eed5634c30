"""The speed columns: what ``pytest benchmarks/test_league.py --benchmark-json FILE`` measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duetime.errors import BadUsage
from duetime.league.matrix import table_name

HOW = "write it with pytest benchmarks/test_league.py --size=full --benchmark-json FILE"
MOST_IS_BEST = ("schedule", "drain")
"""Beginnings of the columns in which more is better; in the others it is less."""


@dataclass(frozen=True, slots=True)
class Speeds:
    """Figures by column and design; None where there is none, for instance because nothing came back in time.

    conditions: a sentence about when and where they were measured.
    """

    columns: Mapping[str, Mapping[str, float | None]]
    conditions: str

    def designs(self) -> list[str]:
        """Return the designs with a figure, sorted by name."""
        return sorted({name for column in self.columns.values() for name in column}, key=table_name)

    def best(self, column: str) -> list[str]:
        """Return the designs with the best figure of a column, as it is shown; none if there is no figure."""
        known = {name: figure for name, figure in self.columns[column].items() if figure is not None}
        choose = max if column.startswith(MOST_IS_BEST) else min
        best = figure_text(choose(known.values())) if known else ""
        return [name for name, figure in known.items() if figure_text(figure) == best]

    def texts(self, design: str) -> Iterator[str]:
        """Yield the figure of each column, with a dash where there is none."""
        for column in self.columns.values():
            yield figure_text(column.get(design))


def figure_text(figure: float | None) -> str:
    """Three digits are enough for figures of a shared machine."""
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.1f}"


def read(files: Sequence[Path]) -> Speeds | None:
    """Return the figures in these files; None without a file.

    Raises:
        BadUsage: a file is no benchmark JSON, or has no figures of the league.
    """
    columns: dict[str, Mapping[str, float | None]] = {}
    conditions: list[str] = []
    for file in files:
        try:
            measured = json.loads(file.read_text())
            found = [each["extra_info"]["league"] for each in measured["benchmarks"] if "league" in each["extra_info"]]
            conditions.append(_conditions(measured))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadUsage(f"{file} cannot be read: {type(error).__name__} {error}; {HOW}") from error
        if not found:
            raise BadUsage(f"{file} has no figures of the league; {HOW}")
        for each in found:
            columns.update(each)
    return Speeds(columns, "; ".join(dict.fromkeys(conditions))) if files else None


def _conditions(measured: Mapping[str, Any]) -> str:
    machine, commit = measured["machine_info"], measured["commit_info"]
    size = measured["benchmarks"][0]["extra_info"]["size"]
    changed = "-dirty" if commit["dirty"] else ""
    return (
        f"{measured['datetime'][:10]}, commit {commit['id'][:7]}{changed}, size {size}, "
        f"{machine['cpu']['count']} shared cores ({machine['cpu'].get('brand_raw', machine['machine'])})"
    )
