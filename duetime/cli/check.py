"""The command ``duetime check``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from duetime.checker import judge, label_lines, write_results
from duetime.cli.latest import RunPath
from duetime.cli.options import EXIT_STATUS, JSON
from duetime.errors import BadUsage

if TYPE_CHECKING:
    from duetime.checker import Results


@click.command(name="check")
@click.argument("run_dir", type=RunPath())
@click.option("--labels", is_flag=True, help="Print one JSON line for each obligation and each delivery instead.")
@JSON
def check_command(run_dir: Path, labels: bool, as_json: bool) -> None:
    """Judge a stored run again.

    Uses only the files in RUN_DIR, so the result is always the same. Writes RUN_DIR/results.json and prints the
    verdict, the counts, and the evidence of each violation.

    Exit status: 0 pass, 1 fail, 2 bad usage, 3 unknown.
    """
    try:
        results = judge(run_dir)
    except OSError as error:
        raise BadUsage(f"{error.filename}: cannot be read ({error.strerror})") from error
    try:
        write_results(results, run_dir)
    except OSError as error:
        click.echo(f"duetime: cannot write results.json ({error.strerror}); the verdict is valid", err=True)
    if labels:
        for line in label_lines(run_dir):
            click.echo(json.dumps(line))
    elif as_json:
        click.echo(json.dumps(results.to_json()))
    else:
        _print_results(results)
    sys.exit(EXIT_STATUS[results.outcome])


def _print_results(results: Results) -> None:
    counts = [f"{name} {number}" for name, number in results.counts.items() if number]
    slow = f" (slow {results.run['slow']:g})" if "slow" in results.run else ""
    click.echo(f"{results.outcome}{slow}   {'  '.join(counts)}")
    for reason in results.unknown_because:
        click.echo(f"unknown because {reason}")
    for violation in results.violations:
        click.echo(f"\n{violation.label} {violation.op}\n  {violation.explanation}")
