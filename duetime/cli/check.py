"""The command ``duetime check``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from duetime.checker import judge_history, label_lines
from duetime.cli.check_runs import check_runs, deliver, save_results
from duetime.cli.failing import Failing, failing_options
from duetime.cli.latest import RunPath
from duetime.cli.output import Output, output_options
from duetime.errors import BadUsage
from duetime.report.conclusions import verdict

if TYPE_CHECKING:
    from duetime.checker import Results


@click.command(name="check")
@click.argument("run_dir", type=RunPath())
@click.option("--labels", is_flag=True, help="Print one JSON line for each obligation and each delivery instead.")
@output_options
@failing_options
def check_command(failing: Failing, wanted: Output, run_dir: Path, labels: bool) -> None:
    """Judge stored runs again.

    RUN_DIR is the directory of a run, or one with runs below it: `runs/latest` is the newest. Uses only the files in
    there, so the result is always the same, and writes results.json into the directory of each run.

    For one run, prints the verdict, the counts, and the evidence of each violation. For several, prints the matrix and
    their causes: violations of one design that came about in the same way, with an example of each.

    \b
      duetime check runs/latest
      duetime check runs/latest/crash/push_readmodel-seed1
      duetime check runs/latest --format markdown >> "$GITHUB_STEP_SUMMARY"
      duetime check runs/latest --format junit --output duetime.xml

    Exit status, as of `duetime compare`: 0 if every design kept its guarantees, 1 if one broke them, 2 bad usage, 3 if
    a run is unknown or did not finish.
    """
    if labels and (wanted.form != "text" or wanted.baseline):
        raise BadUsage("--labels prints lines of its own; leave out --format, --output and --baseline")
    if not (run_dir / "plan.json").exists() and (found := sorted(run_dir.rglob("plan.json"))):
        if labels:
            raise BadUsage(f"--labels is for one run, and there are {len(found)} below {run_dir}; name one of them")
        sys.exit(check_runs([plan.parent for plan in found], run_dir, wanted, failing))
    sys.exit(_check_run(run_dir, wanted, failing, labels=labels))


def _check_run(run_dir: Path, wanted: Output, failing: Failing, *, labels: bool) -> int:
    from duetime.harness.runs.cell import cell_of
    from duetime.history import load

    try:
        history = load(run_dir)
    except OSError as error:
        raise BadUsage(f"{error.filename}: cannot be read ({error.strerror})") from error
    results = judge_history(history)
    cell = cell_of(run_dir, history, results)
    save_results(results, run_dir)
    status = failing.status([cell])
    if labels:
        for line in label_lines(run_dir):
            click.echo(json.dumps(line))
        return status
    if wanted.prints_text:
        _print_results(results, verdict(cell.to_json()))
    found = {name: value for name, value in results.to_json().items() if name != "format"}
    return deliver([cell], run_dir, wanted, fails=[failing.fails(cell)], status=status, more=found)


def _print_results(results: Results, verdict: str) -> None:
    counts = [f"{name} {number}" for name, number in results.counts.items() if number]
    slow = f" (slow {results.run['slow']:g})" if "slow" in results.run else ""
    click.echo(f"{verdict}{slow}   {'  '.join(counts)}")
    for reason in results.unknown_because:
        click.echo(f"unknown because {reason}")
    for violation in results.violations:
        click.echo(f"\n{violation.label} {violation.op}\n  {violation.explanation}")
