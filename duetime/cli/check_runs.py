"""``duetime check`` of a directory with runs below it: one matrix, the causes of all violations, one exit status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from duetime.checker import Results, judge_history, write_results
from duetime.cli.failing import Failing
from duetime.cli.options import EXIT_STATUS
from duetime.cli.output import Output, compared_status, outcome_of
from duetime.errors import NotARun
from duetime.shell_command import shell_command

if TYPE_CHECKING:
    from duetime.harness.runs.cell import Cell
    from duetime.report.causes import Causes


MOST_NAMED = 20
"""The most runs that are named as those that make the command fail."""


def check_runs(run_dirs: Sequence[Path], directory: Path, wanted: Output, failing: Failing) -> int:
    """Judge `run_dirs`, which are below `directory`, print what was found, and return the exit status."""
    from duetime.cli.report import position
    from duetime.report.causes import Causes

    causes, cells, left_out = Causes(), [], []
    for run_dir in run_dirs:
        try:
            cells.append(_judged(run_dir, causes))
        except (NotARun, OSError) as error:
            left_out.append(f"{run_dir}: {error}")
    cells.sort(key=lambda cell: position(cell.to_json()))
    unfinished = [str(cell.run_dir) for cell in cells if not (cell.run_dir / "closed.json").exists()]
    fails = [failing.fails(cell) for cell in cells]
    if wanted.prints_text:
        _print_text(cells, causes)
    for reason in left_out:
        click.echo(f"duetime: skipped: {reason}", err=True)
    if unfinished:
        click.echo(f"duetime: {len(unfinished)} of {len(cells)} runs did not finish: {', '.join(unfinished)}", err=True)
    more = {"causes": [cause.to_json() for cause in causes.largest_first()]}
    status = deliver(cells, directory, wanted, fails=fails, status=failing.status(cells), more=more)
    return EXIT_STATUS["unknown"] if left_out and status == EXIT_STATUS["pass"] else status


def deliver(
    cells: Sequence[Cell],
    directory: Path,
    wanted: Output,
    *,
    fails: Sequence[bool],
    status: int,
    more: Mapping[str, Any] | None = None,
) -> int:
    """Print what is wanted of judged runs. Returns `status`, or with a baseline that of the comparison with it."""
    from duetime.report.baseline import Place, Planned

    wanted.check_comparable(
        lambda: [Planned(Place(cell.scenario, cell.design, cell.slow), cell.seed, cell.plan_hash) for cell in cells]
    )
    rows = [cell.to_json() for cell in cells]
    outcome = outcome_of(rows, fails=fails, runs=directory, wanted=wanted, more=more or {})
    if wanted.prints_text and len(cells) > 1:
        click.echo(f"\n{outcome.verdicts}")
        failing = [f"{row.place}, seed {row.cell['seed']}: {row.finding}" for row in outcome.rows if row.fails]
        for line in failing[:MOST_NAMED]:
            click.echo(f"  {line}")
        if len(failing) > MOST_NAMED:
            click.echo(f"  and {len(failing) - MOST_NAMED} more")
    wanted.deliver(outcome)
    return compared_status(outcome.compared) if outcome.compared else status


def save_results(results: Results, run_dir: Path) -> None:
    """Write results.json, if that is possible."""
    try:
        write_results(results, run_dir)
    except OSError as error:
        click.echo(f"duetime: cannot write results.json ({error.strerror}); the verdict is valid", err=True)


def _judged(run_dir: Path, causes: Causes) -> Cell:
    from duetime.harness.runs.cell import cell_of
    from duetime.history import load

    history = load(run_dir)
    results = judge_history(history)
    cell = cell_of(run_dir, history, results)
    save_results(results, run_dir)
    causes.add(run_dir, history, results)
    return cell


def _print_text(cells: Sequence[Cell], causes: Causes) -> None:
    from rich.table import Table

    from duetime.report.conclusions import conclusions
    from duetime.report.table import console, print_overview

    rows = [cell.to_json() for cell in cells]
    for conclusion in conclusions(rows):
        click.echo(f"{conclusion.design} {conclusion.sentence}.")
    click.echo()
    print_overview(console(), rows)
    found = causes.largest_first()
    if not found:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("cause", "runs", "violations"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("design", "what happened"):
        table.add_column(name, overflow="fold")
    for number, cause in enumerate(found, start=1):
        table.add_row(str(number), str(len(cause.runs)), str(cause.violations), cause.way.design, cause.what)
    to = console()
    to.print()
    to.print(table)
    for number, cause in enumerate(found, start=1):
        click.echo(f"\n{number}  {cause.way.design}, {', '.join(cause.scenarios)}: for example {cause.example.op}")
        click.echo(f"   {cause.example.explanation}")
        click.echo(f"   {shell_command('check', cause.example_run)}")
