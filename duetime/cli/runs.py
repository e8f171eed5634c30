"""The commands that run designs: ``duetime compare`` and ``duetime run``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from duetime import registry
from duetime.cli.application import application_options
from duetime.cli.failing import Failing, failing_options
from duetime.cli.interrupted import SoFar, printed_if_interrupted
from duetime.cli.latest import link_latest, without_latest
from duetime.cli.options import (
    OUT,
    SEED,
    SLOW,
    in_own_environment,
    load_designs,
    split_names,
)
from duetime.cli.output import Output, compared_status, outcome_of, output_options, planned
from duetime.cli.report import write_report
from duetime.cli.shrink import shrink_failing
from duetime.errors import BadUsage
from duetime.harness.runs.output_directory import new_directory
from duetime.shell_command import shell_command

if TYPE_CHECKING:
    from duetime.checker import Results
    from duetime.harness.plan.scenario import Scenario
    from duetime.harness.runs.cell import Cell
    from duetime.history import History
    from duetime.interface import Design
    from duetime.report.picture import Picture


@click.command(name="compare")
@click.option(
    "--designs",
    default="",
    metavar="A,B",
    help="Names, or path/to/file.py:attribute. Default: every registered design without its variants: pull_worker, "
    "push_readmodel, oban_style_queue.",
)
@click.option(
    "--scenarios",
    "scenario_names",
    default="",
    metavar="A,B",
    help="Names. Default: calm, more_servers, downtime, crash.",
)
@click.option(
    "--full",
    is_flag=True,
    help="Default to every design and variant except the reference, and to every scenario except those that run only "
    "if named. Takes half an hour.",
)
@click.option(
    "--runs",
    default=1,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="Repeat each cell with N seeds and print rates.",
)
@click.option(
    "--side-by-side",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run this many designs at the same time. The default suits two cores; fewer disturb one another less.",
)
@click.option(
    "--shrink",
    "and_shrink",
    is_flag=True,
    help="Afterwards find the smallest plan that still fails for each failing cell, up to five minutes each: "
    "`duetime shrink` takes other times.",
)
@SLOW
@SEED
@output_options
@failing_options
@OUT
@in_own_environment
def compare_command(
    failing: Failing,
    wanted: Output,
    designs: str,
    scenario_names: str,
    full: bool,
    runs: int,
    side_by_side: int | None,
    and_shrink: bool,
    slow: float,
    seed: int,
    out: Path,
) -> None:
    """Run designs in scenarios and print the verdicts.

    Each design runs in each scenario, several designs side by side. The result is a matrix and an HTML report. As in
    `duetime run`, the shell's variables are ignored, except those named in DUETIME_PASS_ENVIRONMENT.

    Exit status: 0 if every design kept its guarantees, 1 if one broke them, 2 bad usage, 3 unknown. The naive poller
    does not guarantee delivery, so a notification that it misses shows in the matrix and does not fail the command. A
    cell is `not applicable`, and is not run, if the fault cannot hit the design or this machine cannot inject it.
    """
    from duetime.harness.plan import catalogue, lookup

    names = split_names("--designs", designs) or [
        name for name in registry.names() if name != registry.REFERENCE and (full or ":" not in name)
    ]
    default = catalogue.FULL if full else catalogue.DEFAULT
    named = [lookup.named(name) for name in split_names("--scenarios", scenario_names)]
    scenarios = [lookup.slowed(scenario, slow) for scenario in named or default]
    names_of_scenarios = [scenario.name for scenario in scenarios]
    if twice := [name for name in names_of_scenarios if names_of_scenarios.count(name) > 1]:
        raise BadUsage(f"--scenarios {scenario_names!r} has {twice[0]} twice, once as a stored plan; leave one out")
    seeds = list(range(seed, seed + runs))
    after = partial(shrink_failing, out=out, as_text=wanted.prints_text) if and_shrink else None
    sys.exit(_run_and_report(wanted, failing, names, scenarios, seeds, out=out, side_by_side=side_by_side, after=after))


@click.command(name="run")
@click.argument("design")
@click.argument("scenario")
@SEED
@SLOW
@output_options
@failing_options
@OUT
@application_options  # outside of the own environment, because the application is imported in the caller's
@in_own_environment
def run_command(
    failing: Failing, wanted: Output, design: str, scenario: str, seed: int, slow: float, out: Path
) -> None:
    """Run one design in one scenario.

    DESIGN is a name, path/to/file.py:attribute, or celery:APP with what `celery -A` takes: then the generic queue runs
    with the settings of your application, which is imported in your shell's environment. Its tasks are never executed,
    its broker is never opened. A violation then ends with 1, because nothing was promised.

    SCENARIO is a name, or the plan.json of a stored run, which is then repeated. The run ignores the shell's variables
    (PGHOST, CELERY_BROKER_URL, …); DUETIME_PASS_ENVIRONMENT=NAME,NAME passes those that your design needs.

    \b
      duetime run push_readmodel crash
      duetime run push_readmodel runs/20300101-120000/crash/push_readmodel-seed1/plan.json
      duetime run celery:shop.celery:app deploy_too_slow --worker "celery -A shop worker -c 4"

    Exit status, as of `duetime compare`: 0 if the design kept its guarantees, 1 if it broke one (--strict: if it failed
    at all), 2 bad usage, 3 unknown.
    """
    from duetime.harness.plan import lookup
    from duetime.harness.plan.scenario import Replay

    scenario = str(without_latest(Path(scenario))) if scenario.endswith(".json") else scenario
    chosen = lookup.slowed(lookup.named(scenario), slow)
    seeds = [chosen.written.seed if isinstance(chosen, Replay) else seed]
    sys.exit(_run_and_report(wanted, failing, [design], [chosen], seeds, out=out))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """The cells of one command, where they are stored, and how long they took."""

    cells: Sequence[Cell]
    pictures: Mapping[str, Picture]
    directory: Path
    seeds: Sequence[int]
    seconds: float


def _run_and_report(
    wanted: Output,
    failing: Failing,
    names: Sequence[str],
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    *,
    out: Path,
    side_by_side: int | None = None,
    after: Callable[[Sequence[Cell]], None] | None = None,
) -> int:
    """Run designs and print what was found; return the exit status. after: called with the cells at the end."""
    # Refuse a bad name before anything is started or written.
    designs = load_designs(names)
    wanted.check_comparable(lambda: planned(scenarios, [design.name for design in designs.values()], seeds))
    weaknesses = {design.name: design.weakness for design in designs.values()}
    so_far = SoFar(planned=len(designs) * len(scenarios) * len(seeds), weaknesses=weaknesses)
    with printed_if_interrupted(so_far, as_text=wanted.prints_text):
        comparison = _run(designs, scenarios, seeds, so_far=so_far, out=out, side_by_side=side_by_side)
    link_latest(comparison.directory)
    rows = [cell.to_json() for cell in comparison.cells]
    page = write_report(rows, comparison.directory, comparison.pictures)
    more = {"seconds": round(comparison.seconds, 1), "report": str(page) if page else None}
    fails = [failing.fails(cell) for cell in comparison.cells]
    outcome = outcome_of(rows, fails=fails, runs=comparison.directory, wanted=wanted, more=more)
    if wanted.prints_text:
        _print_text(comparison, page)
    wanted.deliver(outcome)
    if after:
        after(comparison.cells)
    return compared_status(outcome.compared) if outcome.compared else failing.status(comparison.cells)


def _run(
    designs: Mapping[str, Design],
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    *,
    so_far: SoFar,
    out: Path,
    side_by_side: int | None,
) -> _Comparison:
    from duetime.harness.plan.scenario import SIDE_BY_SIDE
    from duetime.harness.processes.cancellation import CancelToken
    from duetime.harness.processes.cleanup import run_tempdir
    from duetime.harness.processes.fork_server import fork_server
    from duetime.harness.processes.services import Services
    from duetime.harness.runs.compare import compare
    from duetime.harness.runs.context import RunContext
    from duetime.harness.runs.progress import ProgressDisplay
    from duetime.report.picture import picture

    started = time.monotonic()
    pictures: dict[str, Picture] = {}

    def draw(run_dir: Path, history: History, results: Results) -> None:
        pictures[str(run_dir)] = picture(run_dir, history, results)

    with run_tempdir() as tempdir, fork_server(tempdir) as clients:
        services = Services(tempdir)
        at_once = min(len(designs), side_by_side or SIDE_BY_SIDE)
        context = RunContext(tempdir, services, services.prepare(side_by_side=at_once), CancelToken(), clients)
        so_far.directory = directory = new_directory(out)
        design_names = [design.name for design in designs.values()]
        display = ProgressDisplay([scenario.name for scenario in scenarios], design_names, seeds=len(seeds))
        compared = compare(
            designs,
            scenarios,
            seeds,
            context=context,
            out=directory,
            progress=display.update,
            side_by_side=side_by_side,
            on_judged=draw,
        )
        # Closed, because its runs go on while this loop has a cell.
        with display, closing(compared) as cells:
            for cell in cells:
                so_far.cells.append(cell)
                display.cell(cell)
    seconds = time.monotonic() - started
    return _Comparison(cells=so_far.cells, pictures=pictures, directory=directory, seeds=seeds, seconds=seconds)


def _print_text(comparison: _Comparison, page: Path | None) -> None:
    from duetime.harness.plan import lookup
    from duetime.report.baseline import seeds_text
    from duetime.report.table import console, print_comparison, try_next

    cells = comparison.cells
    rows = [cell.to_json() for cell in cells]
    print_comparison(console(), rows)
    click.echo(
        f"\n{len(cells)} {'run' if len(cells) == 1 else 'runs'} in {comparison.seconds:.0f} s, "
        f"{seeds_text(comparison.seeds)}, kept in {comparison.directory}/"
    )
    # What is not applicable was not run.
    if judged := [cell for cell in cells if cell.run_dir.exists()]:
        click.echo(f"Judge one again: {shell_command('check', judged[-1].run_dir)}")
    if page:
        click.echo(f"See what happened: {page.absolute().as_uri()}")
    if commands := try_next(rows, lookup.names()):
        click.echo("\nTry next:")
        click.echo("\n".join(f"  {command}" for command in commands))
