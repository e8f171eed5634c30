"""The command ``duetime league``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from duetime import contenders
from duetime.cli.options import in_own_environment, load_designs, split_names
from duetime.errors import BadUsage

if TYPE_CHECKING:
    from duetime.harness.processes.services import Services
    from duetime.league.speeds import Speeds

RECORDS = contenders.ROOT / "docs" / "league-runs"
OUT = contenders.ROOT / "runs" / "league"
DOCUMENT = contenders.ROOT / "docs" / "league.md"
SECTION = "league"


@click.command(name="league")
@click.option(
    "--designs",
    "names",
    default="",
    metavar="A,B",
    help="Such as push_readmodel,rq,rq:tuned. Default: all that can run here.",
)
@click.option("--scenarios", "scenario_names", default="", metavar="A,B", help="Default: each kind of fault once.")
@click.option("--runs", "seeds", default=3, show_default=True, type=click.IntRange(min=1), help="Seeds 1 to N of each.")
@click.option(
    "--again",
    multiple=True,
    type=click.Choice(["unknown", "fail", "pass", "late", "all"]),
    help="Repeat stored runs with this outcome, for instance unknown ones of a busy machine. late: all seeds of what "
    "was later than it guarantees; with a smaller --side-by-side. May be repeated.",
)
@click.option(
    "--side-by-side",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="How many runs at the same time, where the scenario allows it.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=OUT, show_default="runs/league", help="Where runs are kept."
)
@click.option(
    "--document",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=DOCUMENT,
    show_default="docs/league.md",
    help="The Markdown page to rewrite, between its markers.",
)
@click.option(
    "--page", type=click.Path(path_type=Path, dir_okay=False), help="The HTML page.  [default: league.html in --out]"
)
@click.option(
    "--records",
    type=click.Path(path_type=Path, file_okay=False),
    default=RECORDS,
    show_default="docs/league-runs",
    help="The verdicts of runs made before, which need not be made again, and of those made now.",
)
@click.option(
    "--speeds",
    "speed_files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Figures of pytest benchmarks/test_league.py --benchmark-json FILE. May be repeated.",
)
@click.option("--estimate", is_flag=True, help="Print how many runs are left and how long they take; run nothing.")
@click.option("--any-tree", is_flag=True, help="Also with uncommitted changes, and with stored runs of other sources.")
@click.option("--no-run", is_flag=True, help="Judge what is stored again, of whatever sources, and rewrite the pages.")
@in_own_environment
def league_command(
    names: str,
    scenario_names: str,
    seeds: int,
    again: Sequence[str],
    side_by_side: int,
    out: Path,
    document: Path,
    page: Path | None,
    records: Path,
    speed_files: Sequence[Path],
    estimate: bool,
    any_tree: bool,
    no_run: bool,
) -> None:
    """Run every library and design in every scenario, and write one page that compares them.

    All runs take many hours. Each is kept: an interrupted command continues where it stopped, and today's checker
    judges again what is in --out. Of each run that counts a record goes to --records, which belongs into a commit:
    on another machine the command goes on from there. A run is made again when the committed sources that decided it
    have changed, so that the page is of one commit; commit first.

    \b
      duetime contenders install --all
      duetime league --estimate
      duetime league --runs 3
      duetime league --designs push_readmodel,procrastinate,procrastinate:tuned --scenarios calm,crash

    Exit status: 0 the pages are written, 1 a failing cell has no mechanism in its library's README or a mechanism
    explains no failing cell (the pages are written nevertheless), 2 bad usage.
    """
    from duetime.harness.plan import lookup
    from duetime.harness.processes.cleanup import run_tempdir
    from duetime.harness.processes.services import Services
    from duetime.league.entrants import entrants, full_name
    from duetime.league.matrix import Again, Matrix, described_tree, is_committed
    from duetime.league.records import restore
    from duetime.league.scenarios import of_the_league
    from duetime.league.speeds import read

    contenders.check_present()
    speeds = read(speed_files)
    tree = described_tree()
    if not (estimate or no_run or any_tree or is_committed(tree)):
        raise BadUsage(
            f"the tree is {tree}; commit its changes, because the page says which commit was measured, or try the "
            "command with --any-tree"
        )
    of_head = not (no_run or any_tree)
    if not any_tree:
        restore(records, out)
    wanted = [full_name(name) for name in split_names("--designs", names)]
    designs = list(load_designs(wanted).values()) if wanted else entrants()
    scenarios = [lookup.named(name) for name in split_names("--scenarios", scenario_names)] or list(of_the_league())
    with run_tempdir() as tempdir:
        services = Services(tempdir)
        if not no_run:
            matrix = Matrix(designs, scenarios, range(1, seeds + 1), out, of_head=of_head, at_once=side_by_side)
            matrix.run_missing(services, tempdir, Again(again), click.echo, estimate=estimate)
        if not estimate:
            pages = document, page or out / "league.html"
            to_keep = None if any_tree else records
            sys.exit(_write(out, *pages, services, speeds=speeds, of_head=of_head, records=to_keep))


def _write(
    out: Path,
    document_file: Path,
    page_file: Path,
    services: Services,
    *,
    speeds: Speeds | None,
    of_head: bool,
    records: Path | None,
) -> int:
    """Write both pages of everything that is stored, and its records.

    Print what is not explained, and return the exit status.
    """
    from duetime.harness.plan import catalogue
    from duetime.league.about import read_about
    from duetime.league.document import document
    from duetime.league.entrants import all_entrants
    from duetime.league.matrix import Matrix
    from duetime.league.page import write_page
    from duetime.league.records import keep
    from duetime.league.tables import write_section
    from duetime.league.why import Explanations
    from duetime.report.contender_mechanisms import paragraphs

    stored = sorted({int(path.name.rpartition("-seed")[2]) for path in out.glob("*/*-seed*")})
    if not stored:
        raise BadUsage(f"there are no runs in {out}; leave --no-run out")
    matrix = Matrix(all_entrants(), catalogue.ALL, stored, out, of_head=of_head)
    judged = [(place, cell) for place, cell in matrix.cells(services) if cell is not None]
    ran = [place for place, cell in judged if cell.outcome != "not applicable"]
    scenarios, names = {place.scenario.name for place in ran}, {place.design.name for place in ran}
    judged = [
        (place, cell) for place, cell in judged if place.scenario.name in scenarios and place.design.name in names
    ]
    if records:
        keep(records, [cell for _, cell in judged])
    readmes = [contenders.folder(name) / "README.md" for name in contenders.names()]
    explanations = Explanations([each for readme in readmes for each in paragraphs(readme)])
    known = read_about(names, speeds)
    write_section(document_file, SECTION, document(judged, explanations, known))
    write_page(page_file, judged, explanations, known)
    click.echo(f"wrote {document_file} and {page_file}")
    for (run, kind), text in explanations.unexplained.items():
        click.echo(f"no mechanism: {run}: {kind} ({text})", err=True)
    unused = explanations.unused(judged)
    for text in unused:
        click.echo(f"no failing cell: {text}", err=True)
    return 1 if explanations.unexplained or unused else 0
