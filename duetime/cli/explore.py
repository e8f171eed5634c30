"""The command ``duetime explore``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from duetime import registry
from duetime.cli.options import Duration, in_own_environment
from duetime.errors import BadUsage
from duetime.shell_command import shell_command

if TYPE_CHECKING:
    from duetime.explore.explorer import Explored, Explorer, Schedule

VIOLATION, UNKNOWN = 1, 3


@click.command(name="explore")
@click.argument("design", required=False)
@click.argument("scopes", nargs=-1, metavar="[SCOPE]...")
@click.option("--list", "listing", is_flag=True, help="List the scopes and the designs, and end.")
@click.option(
    "--budget", "budget_s", type=Duration(), default="5m", show_default=True, help="The longest time for each scope."
)
@click.option(
    "--preemptions",
    type=click.IntRange(min=0),
    metavar="N",
    help="Only interleavings that switch away at most N times from a participant that could go on.",
)
@click.option(
    "--walks",
    type=click.IntRange(min=1),
    metavar="N",
    help="N interleavings by chance instead of all; for large scopes.",
)
@click.option("--continue", "resume", is_flag=True, help="Go on where the budget ended, from the files in --out.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/explore"),
    show_default=True,
    help="Where a failing schedule is written, and what is left to do.",
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Carry out one schedule again, without DESIGN.",
)
@click.option("--as-test", is_flag=True, help="Write a pytest case beside a failing schedule.")
@in_own_environment
def explore_command(
    design: str | None,
    scopes: Sequence[str],
    listing: bool,
    budget_s: float,
    preemptions: int | None,
    walks: int | None,
    resume: bool,
    out: Path,
    replay: Path | None,
    as_test: bool,
) -> None:
    """Carry out every interleaving of a small scope on a real PostgreSQL, and judge each.

    A proxy holds each statement of each worker and each application, and releases one at a time. Deliveries are steps,
    too, and in some scopes the kill of a worker. When a state is reached a second time, its continuations are not
    carried out again. Without SCOPE, all scopes.

    \b
      duetime explore push_readmodel two_workers
      duetime explore push_readmodel --budget 10m
      duetime explore my_drain.py:design cancel_crash --as-test
      duetime explore --replay runs/explore/push_readmodel/crash.json

    A design of your own is a file with the attribute `design` and a function drain_once(engine, gateway, effects),
    which delivers until nothing is due. A library in an environment of its own connects to engine.url.

    Exit status: 0 no violation in all of each scope, 1 a violation, 2 bad usage, 3 the budget ended before, or
    something proves nothing.
    """
    from duetime.explore.drain_once import DRAINS, MIGRATION
    from duetime.explore.scopes import SCOPES, scopes_for

    if listing:
        for scope in SCOPES.values():
            click.echo(f"{scope.name:18}{scope.what}")
        click.echo(f"designs: {', '.join(DRAINS)}, {MIGRATION}, or a file of your own")
        return
    if replay:
        sys.exit(_replay(replay))
    if not design:
        raise BadUsage(f"name a design: {', '.join(DRAINS)}, or path/to/file.py:design; --list lists the scopes")
    if walks and (preemptions is not None or resume):
        raise BadUsage("--walks goes by chance: leave out --preemptions and --continue")
    name = registry.absolute(design)
    loaded = registry.load(name).name
    chosen = scopes_for(loaded, scopes)
    folder = out / loaded.replace(":", "-")
    folder.mkdir(parents=True, exist_ok=True)
    worst = 0
    for scope in chosen:
        explored = _explored(scope.name, folder, resume=resume, preemptions=preemptions)
        explored = _explore(name, explored, budget_s=budget_s, walks=walks)
        _keep(explored, folder)
        click.echo(_result(explored, walks=walks))
        status = _report(
            explored, folder, again=("explore", design, scope.name, "--continue"), as_test=as_test, walks=walks
        )
        worst = max(worst, status, key=_badness)
    sys.exit(worst)


def _badness(status: int) -> int:
    return (0, UNKNOWN, VIOLATION).index(status)


def _explored(scope: str, folder: Path, *, resume: bool, preemptions: int | None) -> Explored:
    """Return what is known of a scope: nothing, or with `resume` what was kept."""
    from duetime.explore.explorer import Explored
    from duetime.explore.scopes import scope_named
    from duetime.explore.search import Search

    file = folder / f"{scope}.search.json"
    if not (resume and file.exists()):
        return Explored(scope=scope_named(scope), search=Search(preemptions))
    try:
        written = json.loads(file.read_text())
        search = Search.from_json(written["search"])
        return Explored(
            scope=scope_named(scope), search=search, judged=written["judged"], longest=written["longest"],
            seconds=written["seconds"],
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise BadUsage(f"{file} cannot be read ({type(error).__name__} {error}); leave --continue out") from error


def _explore(design: str, explored: Explored, *, budget_s: float, walks: int | None) -> Explored:
    from duetime.explore.explorer import Explorer
    from duetime.harness.processes.cleanup import run_tempdir

    with run_tempdir() as tempdir, Explorer(registry.load(design), design, explored.scope, tempdir) as explorer:
        try:
            _go(explorer, explored, until_s=time.monotonic() + budget_s, walks=walks)
        except KeyboardInterrupt:
            click.echo("interrupted; what is left is kept, and --continue goes on there", err=True)
    return explored


def _go(explorer: Explorer, explored: Explored, *, until_s: float, walks: int | None) -> None:
    def report(now: Explored) -> None:
        share = "" if walks else f", about {now.search.done:.0%} explored"
        click.echo(
            f"{now.scope.name}: {now.judged} interleavings judged, {len(now.search.after)} states{share}, "
            f"{now.seconds:.0f} s",
            err=True,
        )

    if walks:
        explorer.walk(explored, walks, changes=3, report=report)
    else:
        explorer.explore(explored, until_s=until_s, report=report)


def _keep(explored: Explored, folder: Path) -> None:
    """Keep what is left to do; nothing if all is done."""
    file = folder / f"{explored.scope.name}.search.json"
    if explored.search.left and explored.search.after:
        written = {
            "search": explored.search.to_json(), "judged": explored.judged, "longest": explored.longest,
            "seconds": explored.seconds,
        }  # fmt: skip
        file.write_text(json.dumps(written))
    else:
        file.unlink(missing_ok=True)


def _result(explored: Explored, *, walks: int | None) -> str:
    search = explored.search
    allowed = "".join(f"; {label}, as guaranteed, in {count}" for label, count in sorted(explored.allowed.items()))
    broken = f"1 violation: {', '.join(explored.violation.verdict.broken)}" if explored.violation else "0 violations"
    if walks:
        how = f"{explored.judged} interleavings by chance"
    elif explored.is_whole:
        how = f"{search.interleavings():,} interleavings, all of the scope, in {len(search.after):,} states"
    elif not search.left:
        how = f"all interleavings with at most {search.most_preemptions} preemptions, in {len(search.after):,} states"
    elif explored.violation:
        how = f"{search.runs} interleavings carried out until the first violation"
    else:
        how = f"{len(search.after):,} states, about {search.done:.0%} of the scope"
    return (
        f"{explored.scope.name}: {how}; {broken}{allowed} "
        f"({search.runs or explored.judged} carried out, longest {explored.longest} steps, {explored.seconds:.1f} s)"
    )


def _report(explored: Explored, folder: Path, *, again: Sequence[str], as_test: bool, walks: int | None) -> int:
    if explored.violation:
        _show(explored.violation, folder, as_test=as_test)
        return VIOLATION
    if explored.unknown:
        click.echo(f"  unknown: {explored.unknown.verdict.unknown}", err=True)
        return UNKNOWN
    if explored.search.left and not walks:
        click.echo(f"  not all of it: `{shell_command(*again)}` goes on", err=True)
        return UNKNOWN
    return 0


def _show(schedule: Schedule, folder: Path, *, as_test: bool) -> None:
    from duetime.explore import story

    file = folder / f"{schedule.scope}.json"
    story.write(schedule, file)
    file.with_suffix(".html").write_text(story.page(schedule))
    click.echo(f"\n{story.table(schedule)}\n\n{story.sentence(schedule)}")
    click.echo(
        f"\nAgain: `{shell_command('explore', '--replay', str(file))}`. As a picture: {file.with_suffix('.html')}"
    )
    if as_test:
        test = folder / f"test_{schedule.scope}.py"
        test.write_text(story.as_test(schedule, file))
        click.echo(f"As a test: {test}")


def _replay(file: Path) -> int:
    from duetime.explore import story
    from duetime.explore.replayed import replayed

    schedule = replayed(file)
    click.echo(story.table(schedule))
    click.echo(f"\n{story.sentence(schedule) or 'It breaks no guarantee.'}")
    return VIOLATION if schedule.fails else UNKNOWN if schedule.verdict.unknown else 0
