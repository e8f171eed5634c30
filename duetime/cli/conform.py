"""The command ``duetime conform``."""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from duetime.checker import VIOLATIONS
from duetime.cli.failing import Failing
from duetime.cli.latest import link_latest
from duetime.cli.options import (
    EXIT_STATUS,
    JSON,
    OUT,
    SEED,
    SLOW,
    in_own_environment,
    load_designs,
    split_names,
)
from duetime.cli.report import write_report
from duetime.harness.runs.output_directory import new_directory
from duetime.pages import DOCS
from duetime.shell_command import shell_command

if TYPE_CHECKING:
    from duetime.conformance import Tested
    from duetime.harness.plan.scenario import Scenario
    from duetime.harness.runs.cell import Cell
    from duetime.harness.runs.conformance_bench import ConformanceBench

WIDTH, INDENT = 100, 16


@click.command(name="conform")
@click.argument("design")
@click.option(
    "--scenarios",
    "scenario_names",
    default="",
    metavar="A,B",
    help="The scenarios to run it in; none: test the promises of its scheduler only. Default: calm, more_servers, "
    "downtime, crash, dual_write, move_and_cancel.",
)
@SLOW
@click.option("--strict", is_flag=True, help="Exit with 1 for every violation, also one that the guarantees allow.")
@SEED
@JSON
@OUT
@in_own_environment
def conform_command(
    design: str, scenario_names: str, slow: float, strict: bool, seed: int, as_json: bool, out: Path
) -> None:
    """Test whether a scheduler of your own keeps the contract.

    DESIGN is path/to/file.py:attribute, or a registered name. First tests each promise of the contract on a real
    PostgreSQL and a real broker, without any worker: commits, rollbacks, savepoints, cancels, repeated calls. Then runs
    the design with its workers in scenarios with faults, three at a time.

    \b
      duetime conform my_design.py:design
      duetime conform my_design.py:design --scenarios none      # some seconds
      pytest --duetime-design=my_design.py:design               # the same as tests

    Exit status: 0 if every promise and guarantee was kept, 1 if one was broken, 2 bad usage, 3 unknown.
    """
    from duetime.harness.plan import catalogue, lookup
    from duetime.harness.runs.conformance_bench import conformance_bench

    names = split_names("--scenarios", scenario_names)
    chosen = [lookup.named(name) for name in names if names != ["none"]] if names else catalogue.CONFORMANCE
    scenarios = [lookup.slowed(scenario, slow) for scenario in chosen]
    [loaded] = load_designs([design]).values()  # refuses a bad name before anything is started
    with conformance_bench(design, loaded) as bench:
        tested = _test_promises(bench, as_text=not as_json)
        cells = _run_scenarios(bench, scenarios, seed, out, as_text=not as_json) if scenarios else []
    if as_json:
        rows = [cell.to_json() for cell in cells]
        click.echo(json.dumps({"promises": [each.to_json() for each in tested], "cells": rows}))
    else:
        click.echo(f"\n{_summary(tested, cells)}")
    sys.exit(_status(tested, cells, strict=strict))


def _test_promises(bench: ConformanceBench, *, as_text: bool) -> list[Tested]:
    from duetime.conformance import PROMISES

    if as_text:
        versions = " and ".join(f"{name} {version}" for name, version in bench.context.versions.items())
        click.echo(f"{bench.design.name}: {bench.design.summary}")
        click.echo(f"\nPromises of its scheduler, without workers, on {versions}:")
    tested = []
    with bench.conformance() as conformance:
        for promise in PROMISES:
            each = conformance.test(promise)
            tested.append(each)
            if as_text:
                _print(each.state, each.promise, each.evidence, f"read {each.read}")
    return tested


def _run_scenarios(
    bench: ConformanceBench, scenarios: Sequence[Scenario], seed: int, out: Path, *, as_text: bool
) -> list[Cell]:
    from duetime.harness.runs.progress import ProgressDisplay

    directory = new_directory(out)
    cells: list[Cell] = []
    if as_text:
        click.echo(f"\nGuarantees in {_counted(scenarios, 'scenario')}, seed {seed}, kept in {directory}/:")
    try:
        with ProgressDisplay([scenario.name for scenario in scenarios], [bench.design.name], seeds=1) as display:
            for cell in bench.run(scenarios, seed, directory, progress=display.update):
                cells.append(cell)
                display.cell(cell)
    finally:  # after Ctrl-C too
        link_latest(directory)
        page = write_report([cell.to_json() for cell in cells], directory) if cells else None
        if as_text:
            for cell in cells:
                _print_cell(cell)
            if page:
                click.echo(f"\nSee what happened: {page.absolute().as_uri()}")
    return cells


def _print_cell(cell: Cell) -> None:
    counts = {"delivered": cell.counts.get("delivered", 0), **cell.violations} if cell.counts else {}
    what = ": ".join(filter(None, [cell.scenario, ", ".join(f"{number} {label}" for label, number in counts.items())]))
    read = f"read {DOCS}/findings.md, and {shell_command('check', cell.run_dir)}"
    state = cell.promise_state
    _print(state, what, "" if state == "kept" else cell.explanation, read)


def _print(state: str, what: str, evidence: str, read: str) -> None:
    click.echo(f"  {state:<{INDENT - 2}}{what}")
    if evidence:
        indent = " " * INDENT
        for line in evidence.splitlines():  # a log is told line by line
            filled = textwrap.fill(line, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
            click.echo(filled)
    if state in ("BROKEN", "allowed", "failed"):
        click.echo(f"{' ' * INDENT}{read}")


def _summary(tested: Sequence[Tested], cells: Sequence[Cell]) -> str:
    parts = [(_counted(tested, "promise"), Counter[str](each.state for each in tested))]
    if cells:
        parts.append((_counted(cells, "scenario"), Counter[str](cell.promise_state for cell in cells)))
    return " ".join(
        f"{what}: {', '.join(f'{number} {state}' for state, number in counts.items())}." for what, counts in parts
    )


def _counted(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _status(tested: Sequence[Tested], cells: Sequence[Cell], *, strict: bool) -> int:
    from duetime.conformance import PREMISE

    if any(each.state == "BROKEN" for each in tested):
        return EXIT_STATUS["fail"]
    failing = Failing(kinds=frozenset(VIOLATIONS) if strict else None)
    status = failing.status(cells) if cells else EXIT_STATUS["pass"]
    unseen = any(each.promise == PREMISE.name and each.state == "not tested" for each in tested)
    unseen = unseen or any(cell.promise_state == "unknown" for cell in cells)
    return EXIT_STATUS["unknown"] if unseen and status == EXIT_STATUS["pass"] else status
