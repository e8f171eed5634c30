"""The command: ``python -m benchmarks.contenders``, which ``make contenders`` runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.contenders.cells import ROOT, Again, Matrix, designs, seed_numbers
from benchmarks.contenders.page import Explanations, page, write_page
from duetime import contenders
from duetime.cli.options import in_own_environment, split_names
from duetime.errors import BadUsage
from duetime.harness.plan import catalogue, lookup
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.services import Services
from duetime.report.contender_mechanisms import paragraphs

PAGE = ROOT / "docs" / "contenders.md"
SECTION = "contenders"


@click.command()
@click.option("--designs", "names", default="", metavar="A,B", help="Such as oban,rq:tuned. Default: all installed.")
@click.option("--scenarios", "scenario_names", default="", metavar="A,B", help="Default: all that apply.")
@click.option("--seeds", default="1,2,3", show_default=True, metavar="N,N")
@click.option(
    "--again",
    multiple=True,
    type=click.Choice(["unknown", "fail", "pass", "all"]),
    help="Repeat stored runs with this outcome, for instance unknown ones of a busy machine. May be repeated.",
)
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "runs" / "contenders", help="Where runs are.")
@click.option(
    "--page",
    "page_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=PAGE,
    help="The page to rewrite.",
)
@click.option("--estimate", is_flag=True, help="Print how many runs are left and how long they take; run nothing.")
@click.option("--no-run", is_flag=True, help="Run nothing: judge the stored runs again, and rewrite the page.")
@in_own_environment
def main(
    names: str,
    scenario_names: str,
    seeds: str,
    again: Sequence[str],
    out: Path,
    page_file: Path,
    estimate: bool,
    no_run: bool,
) -> None:
    """Run contenders through scenarios, and write the tables of docs/contenders.md.

    A finished run is kept and judged again by today's checker; an interrupted command continues where it stopped. The
    tables show everything that is stored, also of seeds and scenarios that are not named.

    Exit status: 0 the page is written, 1 a failing cell has no mechanism in its contender's README or a mechanism
    explains no failing cell (the page is written nevertheless), 2 bad usage.
    """
    chosen = [lookup.named(name) for name in split_names("--scenarios", scenario_names)] or catalogue.FULL
    matrix = Matrix(designs(split_names("--designs", names)), chosen, seed_numbers(seeds), out)
    with run_tempdir() as tempdir:
        services = Services(tempdir)
        if not no_run:
            matrix.run_missing(services, tempdir, Again(again), click.echo, estimate=estimate)
        if estimate:
            return
        sys.exit(_write(page_file, out, services))


def _write(page_file: Path, out: Path, services: Services) -> int:
    """Rewrite the page; print what is not explained, and return the exit status."""
    stored = sorted({int(path.name.rpartition("-seed")[2]) for path in out.glob("*/*-seed*")})
    matrix = Matrix(designs(), catalogue.ALL, stored, out)
    judged = [(place, cell) for place, cell in matrix.cells(services) if cell is not None]
    ran = [place for place, cell in judged if cell.outcome != "not applicable"]
    scenarios, names = {place.scenario.name for place in ran}, {place.design.name for place in ran}
    judged = [
        (place, cell) for place, cell in judged if place.scenario.name in scenarios and place.design.name in names
    ]
    found = [each for name in contenders.names() for each in paragraphs(contenders.folder(name) / "README.md")]
    explanations = Explanations(found)
    write_page(page_file, SECTION, page(judged, explanations))
    click.echo(f"wrote {page_file}")
    for text in explanations.unexplained:
        click.echo(f"no mechanism: {text}", err=True)
    unused = explanations.unused(judged)
    for text in unused:
        click.echo(f"no failing cell: {text}", err=True)
    return 1 if explanations.unexplained or unused else 0


if __name__ == "__main__":
    try:
        main()
    except BadUsage as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
