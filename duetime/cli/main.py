"""The command line: parse, call, choose an exit status.

What runs designs is imported by the commands that do: it takes a second, and `duetime health` is asked every few.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from duetime import registry
from duetime.checker import judge, label_lines, write_results
from duetime.cli.deploy import health_command, install_command, migrate_command, serve_command
from duetime.cli.options import JSON, OUT, SEED, listed, loaded, new_directory
from duetime.cli.report import demo_command, report_command, write_report
from duetime.cli.status import status_command
from duetime.errors import BadUsage, DuetimeError, Interrupted
from duetime.interface import Design

if TYPE_CHECKING:
    from duetime.checker import Results
    from duetime.harness.plan.scenario import Scenario
    from duetime.harness.runs.compare import Cell
    from duetime.history import History

EXIT_STATUS = {"pass": 0, "fail": 1, "unknown": 3, "not applicable": 3}  # 2 is bad usage
INTERRUPTED = 130
OVERVIEW_FROM = 3
"""So many cells are seen at a glance as they are."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="duetime")
def cli() -> None:
    """How do I reliably do X at time T?

    duetime runs three designs of a notifications module as real processes on real servers, hurts them on purpose, and
    says which notifications were missed, came twice, late, early, stale or after they were cancelled.

    \b
      duetime compare                           the main job: designs × scenarios
      duetime run push_readmodel crash          one run
      duetime check runs/…/push_readmodel-seed1   judge the stored files again
      duetime report runs/…                     the page about them again
      duetime run my_design.py:design downtime  a design of your own

    Exit status: 0 pass, 1 fail, 3 unknown, 2 bad usage.
    """


@cli.command(name="compare")
@click.option(
    "--designs", default="", metavar="A,B", help="Names, or path/to/file.py:attribute. Default: the three designs."
)
@click.option(
    "--scenarios", "scenario_names", default="", metavar="A,B", help="Names. Default: the four of a first look."
)
@click.option(
    "--full", is_flag=True, help="Every design and variant, every scenario, unless these are named. Half an hour."
)
@click.option(
    "--runs",
    default=1,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="Repeat each cell with N seeds, and give rates.",
)
@click.option(
    "--side-by-side",
    type=click.IntRange(min=1),
    metavar="N",
    help="Designs at a time. The default suits two cores; more cores take more, fewer are quieter.",
)
@click.option(
    "--strict", is_flag=True, help="Count every violation as a failure, also those that a design never denied."
)
@SEED
@JSON
@OUT
def compare_command(
    designs: str,
    scenario_names: str,
    full: bool,
    runs: int,
    side_by_side: int | None,
    strict: bool,
    seed: int,
    as_json: bool,
    out: Path,
) -> None:
    """Run designs through scenarios, side by side, and print the matrix.

    Exit status 0 when every cell came out as its design promises: the naive poller promises nothing, so what it
    misses is a finding and not a failure of the command.
    """
    from duetime.harness.plan import catalogue, lookup

    names = listed("--designs", designs) or [
        name for name in registry.names() if name != registry.REFERENCE and (full or ":" not in name)
    ]
    told = catalogue.FULL if full else catalogue.DEFAULT
    chosen = [lookup.named(name) for name in listed("--scenarios", scenario_names)] or list(told)
    seeds = list(range(seed, seed + runs))
    cells = _measure(names, chosen, seeds, out=out, as_json=as_json, side_by_side=side_by_side)
    sys.exit(compare_status(cells, strict=strict))


@cli.command(name="run")
@click.argument("design")
@click.argument("scenario")
@SEED
@JSON
@OUT
def run_command(design: str, scenario: str, seed: int, as_json: bool, out: Path) -> None:
    """Run one DESIGN through one SCENARIO, or through the plan.json of a stored run. The exit status is the verdict."""
    from duetime.harness.plan import lookup
    from duetime.harness.plan.scenario import Replay

    chosen = lookup.named(scenario)
    seeds = [chosen.written.seed if isinstance(chosen, Replay) else seed]
    cells = _measure([design], [chosen], seeds, out=out, as_json=as_json)
    sys.exit(EXIT_STATUS[cells[0].outcome])


@cli.command(name="check")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--labels", is_flag=True, help="Print one JSON line for each obligation and each delivery instead.")
@JSON
def check_command(run_dir: Path, labels: bool, as_json: bool) -> None:
    """Judge the stored run in RUN_DIR again: offline, and always with the same result."""
    try:
        results = judge(run_dir)
    except OSError as error:
        raise BadUsage(f"{error.filename}: cannot be read ({error.strerror})") from error
    try:
        write_results(results, run_dir)
    except OSError as error:
        click.echo(f"duetime: results.json could not be written ({error.strerror}); the verdict stands", err=True)
    if labels:
        for line in label_lines(run_dir):
            click.echo(json.dumps(line))
    elif as_json:
        click.echo(json.dumps(results.to_json()))
    else:
        counts = {name: number for name, number in results.counts.items() if number}
        click.echo(f"{results.outcome}   {'  '.join(f'{name} {number}' for name, number in counts.items())}")
        for reason in results.unknown_because:
            click.echo(f"unknown because {reason}")
        for violation in results.violations:
            click.echo(f"\n{violation.label} {violation.op}\n  {violation.explanation}")
    sys.exit(EXIT_STATUS[results.outcome])


@cli.command(name="designs")
@JSON
def designs_command(as_json: bool) -> None:
    """List the registered designs: what each is, what it promises, and its known weakness."""
    designs = [registry.load(name) for name in registry.names()]
    if as_json:
        click.echo(json.dumps([_described(design) for design in designs]))
        return
    for design in designs:
        guarantees = design.guarantees
        click.echo(f"{design.name}\n  {design.summary}")
        click.echo(
            f"  promises: {guarantees.delivery.replace('_', ' ')}"
            f"{', with the transaction' if guarantees.transactional else ', after the transaction'}"
            f"{', cancels hold' if guarantees.cancels else ', cancels are a best effort'}"
        )
        click.echo(f"  weakness: {design.weakness}\n")


@cli.command(name="scenarios")
@JSON
def scenarios_command(as_json: bool) -> None:
    """List the scenarios: what happens in each, and what it teaches."""
    from duetime.harness.plan import catalogue

    if as_json:
        click.echo(
            json.dumps([{"name": s.name, "idea": s.what, "demonstrates": s.demonstrates} for s in catalogue.ALL])
        )
        return
    for scenario in catalogue.ALL:
        workers = "1 server" if scenario.workers == 1 else f"{scenario.workers} servers"
        click.echo(f"{scenario.name} ({workers})\n  {scenario.what}\n  teaches: {scenario.demonstrates}")
        click.echo(
            f"  unkind to: {scenario.hardest_for}; late after: {scenario.profile.lateness_limit_s:g} s in health"
        )
        alone = "  for capacity: one design at a time and by name only, because it takes minutes\n"
        click.echo(alone if scenario in catalogue.CAPACITY else "")


@cli.command(name="doctor")
@JSON
def doctor_command(as_json: bool) -> None:
    """Try what runs need on this machine: the servers, and each fault, which is injected once."""
    from duetime.harness.runs.doctor import examine

    click.echo("starting both servers, then injecting every kind of fault: about a minute", err=True)
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            click.echo(f"{'ok  ' if finding.ok else 'no  '} {finding.what}: {finding.detail}")
    if as_json:
        click.echo(json.dumps([{"what": f.what, "ok": f.ok, "detail": f.detail} for f in findings]))
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


@cli.command(name="lint")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option(
    "--horizon", default="30d", show_default=True, help="The longest time between schedule and due; 0s: no ETA."
)
@click.option("--lateness", default="1m", show_default=True, help="How late is tolerable after a worker was killed.")
@click.option("--worker", "workers", multiple=True, metavar="CMD", help="A worker's command line, as it is used.")
@click.option(
    "--servers", default=2, show_default=True, type=click.IntRange(min=1), help="Hosts that run each command."
)
@JSON
def lint_command(
    targets: Sequence[str], horizon: str, lateness: str, workers: Sequence[str], servers: int, as_json: bool
) -> None:
    """Read a Celery application's settings for those that lose or repeat what was promised.

    TARGET is module:app, path/to/file.py:app, or the name of a registered design. Nothing is started or connected to.

    \b
      duetime lint shop.celery:app --horizon 14d --worker "celery -A shop worker -B -c 4" --servers 3

    Exit status: 0 no warning, 1 warnings, 2 bad usage.
    """
    from duetime import lint  # late: it imports Celery, which no other command needs

    longest, tolerable = lint.duration("--horizon", horizon), lint.duration("--lateness", lateness)
    read = lint.load(targets, [lint.parse(line) for line in workers])
    findings = lint.lint(read, horizon=longest, lateness=tolerable, servers=servers)
    warnings = sum(finding.level == "warning" for finding in findings)
    if as_json:
        click.echo(json.dumps({"warnings": warnings, "findings": [finding.to_json() for finding in findings]}))
    else:
        click.echo("\n".join(lint.lines(targets, findings)).rstrip())
    sys.exit(1 if warnings else 0)


for command in (
    install_command,
    serve_command,
    health_command,
    status_command,
    migrate_command,
    report_command,
    demo_command,
):
    cli.add_command(command)


def compare_status(cells: Sequence[Cell], *, strict: bool) -> int:
    """1 if a cell broke its design's promise (strictly: if one failed), else 3 if one proves nothing, else 0."""
    if any(cell.outcome == "fail" and (strict or cell.within_guarantees is False) for cell in cells):
        return EXIT_STATUS["fail"]
    proves_nothing = all(cell.outcome == "not applicable" for cell in cells)
    unknown = proves_nothing or any(cell.outcome == "unknown" for cell in cells)
    return EXIT_STATUS["unknown"] if unknown else EXIT_STATUS["pass"]


def _measure(
    names: Sequence[str],
    chosen: Sequence[Scenario],
    seeds: Sequence[int],
    *,
    out: Path,
    as_json: bool,
    side_by_side: int | None = None,
) -> list[Cell]:
    from duetime.harness.plan.scenario import SIDE_BY_SIDE
    from duetime.harness.processes.cancellation import CancelToken
    from duetime.harness.processes.cleanup import run_tempdir
    from duetime.harness.processes.services import Services
    from duetime.harness.runs.compare import compare
    from duetime.harness.runs.context import RunContext
    from duetime.harness.runs.progress import ProgressDisplay
    from duetime.report.page import Picture, picture
    from duetime.report.rates import rates
    from duetime.report.table import console, print_matrix, print_overview

    # Everything that can be refused is refused before anything is started or written.
    designs = loaded(names)
    started = time.monotonic()
    cells: list[Cell] = []
    pictures: dict[str, Picture] = {}

    def look(run_dir: Path, history: History, results: Results) -> None:
        pictures[str(run_dir)] = picture(run_dir, history, results)

    with run_tempdir() as tempdir:
        services = Services(tempdir)
        at_once = min(len(designs), side_by_side or SIDE_BY_SIDE)
        context = RunContext(tempdir, services, services.prepare(side_by_side=at_once), CancelToken())
        directory = new_directory(out)
        with ProgressDisplay([s.name for s in chosen], [d.name for d in designs.values()], seeds=len(seeds)) as board:
            measured = compare(
                designs,
                chosen,
                seeds,
                context=context,
                out=directory,
                progress=board.update,
                side_by_side=side_by_side,
                look=look,
            )
            for cell in measured:
                cells.append(cell)
                board.cell(cell.scenario, cell.design, cell.outcome)
    seconds = time.monotonic() - started
    rows = [cell.to_json() for cell in cells]
    page = write_report(rows, directory, pictures)
    if as_json:
        found = [rate.to_json() for rate in rates(rows)]
        told = {"cells": rows, "rates": found, "seconds": round(seconds, 1), "runs": str(directory)}
        click.echo(json.dumps({**told, "report": str(page) if page else None}))
    else:
        print_matrix(console(), rows)
        if len(rows) > OVERVIEW_FROM:
            console().print()
            print_overview(console(), rows)
        click.echo(f"\n{len(cells)} runs in {seconds:.0f} s, seeds {seeds[0]} to {seeds[-1]}, kept in {directory}/")
        click.echo(f"Judge one again: duetime check {cells[-1].run_dir}")
        if page:
            click.echo(f"See what happened: {page.absolute().as_uri()}")
    return cells


def _described(design: Design) -> dict[str, Any]:
    return {
        "name": design.name,
        "summary": design.summary,
        "weakness": design.weakness,
        "guarantees": asdict(design.guarantees),
        "roles": [role.name for role in design.roles],
    }


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    """The entry point: every error that duetime raises on purpose becomes one sentence and an exit status."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt, Interrupted):
        click.echo("duetime: stopped before the end; nothing is left running", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except BadUsage as error:
        click.echo(f"duetime: {error}", err=True)
        sys.exit(2)
    except DuetimeError as error:
        click.echo(f"duetime: {error}", err=True)
        sys.exit(3)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
