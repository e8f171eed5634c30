"""The command ``duetime report``, and the report that ``duetime compare`` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from duetime import registry
from duetime.cli.latest import RunPath
from duetime.errors import BadUsage, NotARun

if TYPE_CHECKING:
    from duetime.report.picture import Picture


@click.command(name="report")
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=RunPath())
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("report.html"), show_default=True,
    help="The page to write: one file, which needs no network.",
)  # fmt: skip
@click.option(
    "--benchmark", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Include the tables of this file, written by pytest benchmarks/ --benchmark-json FILE.",
)  # fmt: skip
@click.option(
    "--svg", type=click.Path(path_type=Path, dir_okay=False),
    help="Draw one run into this SVG file instead.",
)  # fmt: skip
def report_command(run_dirs: Sequence[Path], out: Path, benchmark: Path | None, svg: Path | None) -> None:
    """Write the HTML report of stored runs. RUN_DIR is the directory of a run, or a directory with runs below it.

    \b
      duetime report runs/20300101-120000
      duetime report runs/20300101-120000/downtime/pull_worker-seed1 --svg downtime.svg
    """
    found = [plan.parent for run_dir in run_dirs for plan in sorted(run_dir.rglob("plan.json"))]
    if not found:
        raise BadUsage(
            f"no run below {', '.join(map(str, run_dirs))}; write the directory that `duetime compare` printed"
        )
    if svg:
        _draw(found, svg)
        return
    cells = _read_cells(found)
    path = _write(cells, out, benchmark)
    click.echo(f"{len(cells)} runs, {path.stat().st_size / 1e6:.1f} MB: {path.absolute().as_uri()}")


def write_report(
    rows: Sequence[Mapping[str, Any]],
    directory: Path,
    pictures: Mapping[str, Picture] | None = None,
    *,
    descriptions: Mapping[str, str] | None = None,
) -> Path | None:
    """Write the report into `directory`. Returns None, after a message on standard error, if that fails.

    descriptions: of plans that are no scenarios, by name.
    """
    from duetime.report.page import write_page

    try:
        known = {**_descriptions(), **(descriptions or {})}
        return write_page(rows, directory / "report.html", descriptions=known, pictures=pictures)
    except Exception as error:  # noqa: BLE001 - a failed report must not change the exit status of the runs
        click.echo(
            f"duetime: no report was written ({type(error).__name__}: {error}); the verdicts are valid", err=True
        )
        return None


def _read_cells(run_dirs: Sequence[Path]) -> list[dict[str, Any]]:
    from duetime.harness.runs.cell import stored_cell

    cells = []
    for run_dir in dict.fromkeys(run_dirs):
        try:
            cells.append(stored_cell(run_dir).to_json())
        except (NotARun, OSError) as error:
            click.echo(f"duetime: skipped: {error}", err=True)
    if not cells:
        raise BadUsage("none of these runs can be read; the messages above give the reasons")
    return sorted(cells, key=position)


def _write(cells: Sequence[Mapping[str, Any]], out: Path, benchmark: Path | None) -> Path:
    from duetime.report.page import write_page

    try:
        stored = json.loads(benchmark.read_bytes()) if benchmark else None
        return write_page(cells, out, descriptions=_descriptions(), benchmark=stored)
    except OSError as error:
        raise BadUsage(f"--out {str(out)!r}: cannot be written ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        if benchmark is None:
            raise
        raise BadUsage(
            f"--benchmark {str(benchmark)!r}: not a file of pytest-benchmark ({type(error).__name__}: {error})"
        ) from error


def _draw(run_dirs: Sequence[Path], svg: Path) -> None:
    from duetime.checker import judge_history
    from duetime.history import load
    from duetime.report.lane import lane
    from duetime.report.strip import strip

    if len(run_dirs) != 1:
        raise BadUsage(f"--svg draws one run, and there are {len(run_dirs)}; write the directory of one of them")
    history = load(run_dirs[0])
    try:
        svg.write_text(strip(lane(history, judge_history(history))))
    except OSError as error:
        raise BadUsage(f"--svg {str(svg)!r}: cannot be written ({error.strerror})") from error
    click.echo(f"{svg} is a picture of {run_dirs[0]}")


def position(cell: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return the position of a cell in the matrix: in the order of `duetime scenarios` and `duetime designs`."""
    from duetime.harness.plan import lookup

    scenarios, designs = lookup.names(), registry.names()
    scenario, design = cell["scenario"], cell["design"]
    return (
        scenarios.index(scenario) if scenario in scenarios else len(scenarios),
        cell["seed"],
        designs.index(design) if design in designs else len(designs),
    )


def _descriptions() -> Mapping[str, str]:
    from duetime.harness.plan import catalogue

    return {scenario.name: f"{scenario.what[:1].upper()}{scenario.what[1:]}. Demonstrates: {scenario.demonstrates}."
            for scenario in catalogue.ALL}  # fmt: skip
