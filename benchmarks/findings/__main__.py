"""The command: ``python -m benchmarks.findings``, which ``make findings`` runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.findings.age import stamp_now
from benchmarks.findings.page import matrix
from duetime import registry
from duetime.cli.options import in_own_environment, load_designs, split_names
from duetime.errors import BadUsage
from duetime.harness.plan import catalogue, lookup
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.services import Services
from duetime.league.matrix import ROOT, Again, Matrix, described_tree, is_committed
from duetime.league.tables import write_section

PAGE = ROOT / "docs" / "findings.md"
SECTIONS = {"matrix": catalogue.FULL, **catalogue.PRODUCTION_GROUPS}
"""The tables of the page, by the names of their markers."""


@click.command()
@click.option("--designs", "names", default="", metavar="A,B", help="Default: all of this project.")
@click.option(
    "--scenarios",
    "scenario_names",
    default="",
    metavar="A,B",
    help="Default: those of compare --full, and those about a production system.",
)
@click.option("--runs", "seeds", default=3, show_default=True, type=click.IntRange(min=1), help="Seeds 1 to N of each.")
@click.option("--again", multiple=True, type=click.Choice(["unknown", "fail", "pass", "all"]), help="Repeat such runs.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "runs" / "findings", help="Where runs are.")
@click.option(
    "--page", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=PAGE, help="The page to rewrite."
)
@click.option("--estimate", is_flag=True, help="Print how many runs are left and how long they take; run nothing.")
@in_own_environment
def main(
    names: str, scenario_names: str, seeds: int, again: Sequence[str], out: Path, page: Path, estimate: bool
) -> None:
    """Run every design through every scenario, and write the tables of docs/findings.md.

    Runs whose committed sources have changed are made again, so that the page is of one commit. An interrupted command
    continues where it stopped.

    Exit status: 0 the page is written, 2 bad usage, for instance uncommitted changes.
    """
    tree = described_tree()
    if not (estimate or is_committed(tree)):
        raise BadUsage(f"the tree is {tree}; commit its changes, because the page says which commit was measured")
    designs = list(load_designs(split_names("--designs", names) or registry.names()).values())
    scenarios = [lookup.named(name) for name in split_names("--scenarios", scenario_names)] or [
        *catalogue.FULL,
        *catalogue.PRODUCTION,
    ]
    cells = Matrix(designs, scenarios, range(1, seeds + 1), out, of_head=True)
    with run_tempdir() as tempdir:
        services = Services(tempdir)
        click.echo(f"tree {tree}")
        cells.run_missing(services, tempdir, Again(again), click.echo, estimate=estimate)
        if estimate:
            return
        judged = [(place, cell) for place, cell in cells.cells(services) if cell is not None]
    for section, among in SECTIONS.items():
        if found := [(place, cell) for place, cell in judged if place.scenario in among]:
            write_section(page, section, matrix(found, stamp_now(tree)))
    click.echo(f"wrote {page}")


if __name__ == "__main__":
    try:
        main()
    except BadUsage as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
