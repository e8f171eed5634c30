"""The command ``duetime shrink``: the smallest plan that still fails as a stored run did."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from duetime.checker import VIOLATIONS
from duetime.cli.latest import RunPath
from duetime.cli.options import EXIT_STATUS, JSON, Duration, in_own_environment, missing_for
from duetime.cli.report import write_report
from duetime.errors import BadUsage, Interrupted
from duetime.shell_command import shell_command

if TYPE_CHECKING:
    from duetime.harness.runs.cell import Cell
    from duetime.shrink.failed_run import StoredRun
    from duetime.shrink.search import Search
    from duetime.shrink.shrinking import Settings, Shrunk

Form = Literal["text", "text on standard error", "json"]


@click.command(name="shrink")
@click.argument("run_dir", type=RunPath())
@click.option(
    "--kind",
    type=click.Choice(VIOLATIONS),
    help="The violation to keep, if the run shows several. Default: one that breaks a guarantee, else the gravest.",
)
@click.option(
    "--repeats",
    default=3,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="Run a smaller plan up to N times. More find a failure of chance, and take longer.",
)
@click.option(
    "--shows",
    metavar="K",
    type=click.IntRange(min=1),
    help="Keep a smaller plan if it fails in K of the N repeats. Default: 2, or 1 if the whole plan itself fails in "
    "only one of them.",
)
@click.option(
    "--budget",
    "budget_s",
    type=Duration(),
    default="5m",
    show_default=True,
    help="Stop after this time, with the smallest plan so far. The same command continues where it stopped.",
)
@click.option(
    "--side-by-side",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run this many plans at the same time. The default is what the scenario allows, five for most.",
)
@click.option("--again", is_flag=True, help="Forget the runs of earlier commands, for a design that has changed since.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Write below OUT/shrunk, into a directory that is the same for the same run.",
)
@JSON
@in_own_environment
def shrink_command(
    run_dir: Path,
    kind: str | None,
    repeats: int,
    shows: int | None,
    budget_s: float,
    side_by_side: int | None,
    again: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Find the smallest plan that still fails as a stored run did.

    RUN_DIR is the directory of one run that failed, or one with this run below it. Takes away operations, recipients,
    faults, workers and seconds between them, runs what is left, and keeps it if it shows the same kind of violation:
    the same label, the same place of what was missed (lost, stuck or failed), a fault in force if there was one, and as
    much allowed by the design's guarantees. A run that is unknown does not count as failing. Ends when nothing more can
    be taken away.

    Writes the plan, the page of a run of it, and what happens in it as one sentence:

    \b
      Missed (lost): one reminder, due 0.4 s after the only worker was killed; restart 3 s later.

    \b
      duetime run pull_worker downtime
      duetime shrink runs/latest/downtime/pull_worker-seed1
      duetime run pull_worker runs/shrunk/downtime-pull_worker-seed1-…/shrunk.json

    Exit status: 0 a smaller plan was written, also if the budget was used up, or none is possible; 2 bad usage; 3 the
    violation was not seen again, or there was no time to find a smaller plan; 130 interrupted, after what was found was
    written.
    """
    from duetime.shrink.shrinking import Settings

    if shows and shows > repeats:
        raise BadUsage(f"--shows {shows} of --repeats {repeats}: write at least as many repeats")
    settings = Settings(repeats=repeats, shows=shows, budget_s=budget_s, side_by_side=side_by_side)
    sys.exit(shrink(run_dir, kind, settings, out=out, again=again, form="json" if as_json else "text"))


def shrink_failing(cells: Sequence[Cell], *, out: Path, as_text: bool) -> None:
    """Shrink the plan of each failing cell, and print what was found; on standard error unless `as_text`."""
    from duetime.shrink.shrinking import Settings

    for cell in cells:
        if cell.outcome == "fail":
            click.echo(err=not as_text)
            shrink(cell.run_dir, None, Settings(), out=out, form="text" if as_text else "text on standard error")


def shrink(
    run_dir: Path, label: str | None, settings: Settings, *, out: Path, again: bool = False, form: Form = "text"
) -> int:
    """Shrink the plan of the failed run in `run_dir`, print what was found, and return the exit status.

    label: of the violation to search for; None for the gravest.
    """
    from duetime.shrink.failed_run import chosen_kind, failed_run
    from duetime.shrink.shrinking import Shrinking, directory_of, forget

    run = failed_run(run_dir)
    if reason := missing_for(run.design):
        raise BadUsage(f"{run.design_name}: {reason}")
    kind = chosen_kind(run, label)
    directory = directory_of(run, out)
    _make(directory, out)
    if again:
        forget(directory)
    click.echo(f"{run.design.name} in {run.plan.scenario}, seed {run.plan.seed}: {kind}; {kind.promise}", err=True)
    shrinking = Shrinking(run, kind, settings, directory)
    try:
        shrunk = shrinking.search(_progress(time.monotonic()))
    except (KeyboardInterrupt, SystemExit, Interrupted):
        so_far = shrinking.so_far()
        if so_far:
            _print(run, so_far, directory, form)
        raise
    _print(run, shrunk, directory, form)
    found = shrunk.file or shrunk.ending == "minimal"
    return EXIT_STATUS["pass" if found and shrunk.ending != "not seen again" else "unknown"]


def _make(directory: Path, out: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadUsage(f"--out {str(out)!r}: cannot create {str(directory)!r} ({error.strerror})") from error


def _progress(started: float) -> Callable[[str, int, float, Search], None]:
    from duetime.shrink.story import size

    def report(step: str, runs: int, expected_s: float, search: Search) -> None:
        number = f"{runs} {'run' if runs == 1 else 'runs'}"
        # Before anything could be taken away, nobody knows.
        left = f"; at most {_minutes(search.left_s())} to go" if search.best != search.whole else ""
        click.echo(
            f"{time.monotonic() - started:6.1f} s  {step}: {number}, about {expected_s:.0f} s; "
            f"so far {size(search.best)}{left}",
            err=True,
        )

    return report


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _print(run: StoredRun, shrunk: Shrunk, directory: Path, form: Form) -> None:
    """Write the page, and print what was found."""
    from duetime.harness.runs.cell import stored_cell
    from duetime.shrink.story import size, story

    page = None
    if shrunk.example:
        cell = stored_cell(shrunk.example, weakness=run.design.weakness)
        descriptions = {shrunk.plan.scenario: story(shrunk.plan, shrunk.kind)} if shrunk.file else {}
        page = write_report([cell.to_json()], directory, descriptions=descriptions)
    if form == "json":
        click.echo(json.dumps(_found(run, shrunk, page), indent=1))
        return
    lines = [_conclusion(shrunk)]
    if shrunk.file:
        lines += ["", story(shrunk.plan, shrunk.kind), "", f"Before: {size(shrunk.whole)}"]
        lines.append(f"Now:    {size(shrunk.plan)}; it fails in {shrunk.rate}")
        lines.append(f"Run it: {shell_command('run', run.design_name, shrunk.file)}")
    if page:
        lines.append(f"See what happened: {page.absolute().as_uri()}")
    click.echo("\n".join(lines), err=form != "text")


def _found(run: StoredRun, shrunk: Shrunk, page: Path | None) -> dict[str, Any]:
    from duetime.shrink.story import story

    return {
        "design": run.design.name,
        "violation": {"label": shrunk.kind.label, "place": shrunk.kind.place, "covered": shrunk.kind.covered},
        "story": story(shrunk.plan, shrunk.kind),
        "ending": shrunk.ending,
        "plan": str(shrunk.file) if shrunk.file else None,
        "operations": len(shrunk.plan.operations),
        "faults": len(shrunk.plan.faults),
        "workers": shrunk.plan.workers,
        "shown": shrunk.rate.shown,
        "runs": shrunk.rate.runs,
        "report": str(page) if page else None,
    }


def _conclusion(shrunk: Shrunk) -> str:
    """How the search ended, as a sentence."""
    smaller = "this is the smallest plan so far" if shrunk.file else "no smaller plan was found so far"
    match shrunk.ending:
        case "minimal":
            return f"Nothing more can be taken away; {shrunk.runs} runs were made." + _by_chance(shrunk)
        case "out of budget":
            return f"The budget is used up; {smaller}. The same command continues; --budget sets the time."
        case "interrupted":
            return f"Interrupted; {smaller}. The same command continues."
        case "not seen again":
            return (
                f"The whole plan failed in {shrunk.rate_of_whole}, so this is a failure of chance, and rarer than a "
                "few repeats show; try --repeats 10, or a plan with a higher rate."
            )


def _by_chance(shrunk: Shrunk) -> str:
    whole, now = shrunk.rate_of_whole, shrunk.rate
    if whole.shown == whole.runs and now.shown == now.runs:
        return ""
    return f" It is a failure of chance: the whole plan failed in {whole}, the smallest in {now}."
