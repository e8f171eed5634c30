"""The records of the league's runs: a line for each, kept in the repository, because all runs take longer than a day.

A run directory has a megabyte, and the league has thousands. Its record has what the pages show of it: the cell, the
tree and the machine that it was measured with, and the versions. A restored record stands in for its run directory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from duetime.errors import BadUsage
from duetime.harness.runs.cell import Cell
from duetime.league.sources import checker_sources

CELL = "cell.json"
"""In the place of a run directory: the cell as it was judged when the run was made."""
MEASURED = "measured.json"
"""Beside a run's files: the tree, the sources that decided, and the machine."""
PLAN = "plan.json"
NOT_KEPT = {"design", "scenario", "seed", "weakness", "run_dir", "slow"}
"""Fields of a cell that its place in the league gives."""
COMMON = {"sqlalchemy", "click", "python-dateutil"}
"""Packages of every client, which say nothing about a library."""


def restore(records: Path, out: Path) -> None:
    """Write what is recorded into `out` where there is no run directory.

    Raises:
        BadUsage: a line is not a record, with its file and number.
    """
    for file in sorted(records.glob("*.jsonl")):
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            try:
                record = json.loads(line)
                directory = out / file.stem / record["run"]
                parts = {MEASURED: record["measured"], PLAN: record["plan"], CELL: record["cell"]}
            except (ValueError, KeyError, TypeError) as error:
                raise BadUsage(
                    f"{file}, line {number} is no record of a run ({type(error).__name__} {error}); take the file of "
                    "the last commit, or remove the line, and its run is made again"
                ) from error
            if not directory.exists():
                directory.mkdir(parents=True)
                for name, part in parts.items():
                    if part is not None:
                        (directory / name).write_text(json.dumps(part))


def keep(records: Path, cells: Iterable[Cell]) -> None:
    """Write the records of `cells` with a run directory; records of other runs stay."""
    by_scenario: dict[str, dict[str, str]] = {}
    for cell in cells:
        if (cell.run_dir / MEASURED).exists():
            by_scenario.setdefault(cell.scenario, {})[cell.run_dir.name] = json.dumps(_record(cell), sort_keys=True)
    records.mkdir(parents=True, exist_ok=True)
    for scenario, new in by_scenario.items():
        file = records / f"{scenario}.jsonl"
        old = file.read_text().splitlines() if file.exists() else []
        lines = {json.loads(line)["run"]: line for line in old} | new
        draft = file.with_suffix(".draft")
        draft.write_text("".join(f"{lines[run]}\n" for run in sorted(lines)))
        draft.replace(file)


def recorded_cell(directory: Path, like: Cell) -> Cell:
    """Return the cell that was restored to `directory`. like: of the same place, for what a record leaves out.

    Raises:
        OSError: there is none. ValueError, TypeError: it is none of this version.
    """
    return replace(like, **json.loads((directory / CELL).read_text()))


def _record(cell: Cell) -> Mapping[str, Any]:
    kept = {
        each.name: value
        for each in fields(Cell)
        if each.name not in NOT_KEPT and (value := getattr(cell, each.name)) not in (each.default, {})
    }
    plan_file = cell.run_dir / PLAN
    written = json.loads(plan_file.read_text()) if plan_file.exists() else None
    return {
        "run": cell.run_dir.name,
        "measured": {"checker": checker_sources(), **json.loads((cell.run_dir / MEASURED).read_text())},
        "plan": written and {"plan_hash": written["plan_hash"], "versions": _telling(written["versions"])},
        "cell": kept,
    }


def _telling(versions: Mapping[str, str]) -> Mapping[str, str]:
    """Return the versions of the servers, and those of the library without what all have."""
    return {
        name: version
        for name, version in versions.items()
        if name in ("postgresql", "broker") or (" of " in name and name.partition(" of ")[0] not in COMMON)
    }
