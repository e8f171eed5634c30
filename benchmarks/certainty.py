"""Explore every scope of every design that can be explored, and each mutant, and write the tables of docs/certainty.md.

``python -m benchmarks.certainty``, which ``make certainty`` runs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import click
import psycopg

from duetime import contenders, registry
from duetime.cli.options import in_own_environment
from duetime.errors import BadUsage
from duetime.explore import story
from duetime.explore.drain_once import DRAINS, MIGRATION
from duetime.explore.explorer import Explored, Explorer
from duetime.explore.proxy import CHUNK
from duetime.explore.scopes import scope_named, scopes_for
from duetime.explore.search import Search
from duetime.harness.processes.cleanup import owner_env, run_tempdir
from duetime.harness.processes.embedded_servers import postgres_version
from duetime.harness.processes.environment import composed
from duetime.harness.processes.services import ServiceRequirements, Services
from duetime.league.matrix import ROOT, described_tree, is_committed
from duetime.league.tables import wrapped, write_section
from tests.explore.test_explore import FOUND_IN, file_of

PAGE = ROOT / "docs" / "certainty.md"
BUDGET_S = 1800.0
LIBRARY_BUDGET_S = 60.0
OF_LIBRARIES = ("two_workers", "crash")
AT_ONCE = 3
"""An exploration mostly waits for its processes."""
ROUNDS, QUERIES = 9, 3000


@click.command()
@click.option("--page", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=PAGE)
@click.option("--designs", default=",".join([*DRAINS, MIGRATION]), show_default=True, metavar="A,B")
@click.option("--budget", default=BUDGET_S, show_default=True, metavar="S", help="Seconds for each scope.")
@in_own_environment
def main(page: Path, designs: str, budget: float) -> None:
    """Explore all scopes and all mutants; write the page. Takes about half an hour on two cores.

    Exit status: 0 the page is written, 2 uncommitted changes.
    """
    tree = described_tree()
    if page == PAGE and not is_committed(tree):
        raise BadUsage(f"the tree is {tree}; commit its changes, because the page says which commit was explored")
    began_s = time.monotonic()
    jobs = [
        *((name, name, scope.name, budget) for name in designs.split(",") for scope in scopes_for(name, ())),
        *((name, file, scope, LIBRARY_BUDGET_S) for name, file, scope in of_libraries()),
        *((name, file_of(name), scope, budget) for name, (scope, _) in sorted(FOUND_IN.items())),
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda job: (job[0], explore(*job[1:])), jobs))
    explored, mutants = found[: -len(FOUND_IN)], found[-len(FOUND_IN) :]
    minutes = (time.monotonic() - began_s) / 60
    conditions = wrapped(
        f"Tree {tree}, {os.cpu_count()} shared cores, PostgreSQL {postgres_version()}, three explorations at a time, "
        f"{minutes:.0f} minutes for everything on this page."
    )
    write_section(page, "conditions", f"{conditions}\n")
    write_section(page, "scopes", "\n".join([*scopes_table(explored), ""]))
    write_section(page, "mutants", "\n".join([*mutants_table(mutants), ""]))
    write_section(page, "proxy", wrapped(f"{throughput()}") + "\n")
    click.echo(f"wrote {page}")


def of_libraries() -> Iterator[tuple[str, str, str]]:
    """Yield the libraries that are installed, with the file of their drain, and the scopes to explore."""
    for file in sorted((ROOT / "tests" / "explore" / "libraries").glob("*_drain.py")):
        name = file.stem.removesuffix("_drain")
        if not contenders.missing(name):
            yield from ((f"contender:{name}", f"{file}:design", scope) for scope in OF_LIBRARIES)


def explore(name: str, scope: str, budget_s: float) -> Explored:
    explored = Explored(scope=scope_named(scope), search=Search())
    with run_tempdir() as tempdir, Explorer(registry.load(name), name, explored.scope, tempdir) as explorer:
        explorer.explore(explored, until_s=time.monotonic() + budget_s, report=lambda _: None)
    click.echo(
        f"{Path(name).stem if '.py' in name else name} {scope}: {len(explored.search.after)} states, "
        f"{explored.seconds:.0f} s, {explored.violation.verdict.broken if explored.violation else 'no violation'}"
    )
    return explored


def scopes_table(found: Sequence[tuple[str, Explored]]) -> Iterator[str]:
    yield "| design | scope | interleavings | states | carried out | longest | seconds | found |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, explored in found:
        search = explored.search
        if explored.is_whole:
            count = f"{search.interleavings():,}, all"
        elif explored.violation:
            count = "until the first violation"
        else:
            count = f"about {search.done:.0%}"
        yield (
            f"| `{name}` | `{explored.scope.name}` | {count} | {len(search.after):,} | {search.runs:,} | "
            f"{explored.longest} steps | {explored.seconds:.0f} | {result(explored)} |"
        )


def result(explored: Explored) -> str:
    if explored.violation:
        return f"**{', '.join(explored.violation.verdict.broken)}**"
    if explored.unknown:
        return f"unknown: {explored.unknown.verdict.unknown}"
    allowed = ", ".join(f"{label} after the kill" for label in sorted(explored.allowed) if label != "missed")
    lost = "missed after the kill" if "missed" in explored.allowed else ""
    guaranteed = ", ".join(filter(None, (allowed, lost)))
    none = "0 violations" if explored.is_whole else "0 violations so far"
    return f"{none}; {guaranteed}, as guaranteed" if guaranteed else none


def mutants_table(found: Sequence[tuple[str, Explored]]) -> Iterator[str]:
    for name, explored in found:
        yield f"### `{name}`\n"
        if explored.violation is None:
            yield f"Not found in `{explored.scope.name}`.\n"
            continue
        yield wrapped(
            f"Found in `{explored.scope.name}` after {explored.search.runs} interleavings and {explored.seconds:.1f} "
            f"s. {story.sentence(explored.violation)}"
        )
        yield f"\n```text\n{story.table(explored.violation)}\n```\n"


def throughput() -> str:
    """Compare round trips through the stepping proxy that lets everything pass, and through the proxy of faults."""
    rates: dict[str, list[float]] = {"stepping": [], "plain": []}
    with run_tempdir() as tempdir, ExitStack() as stack:
        services = Services(tempdir, environment={})
        services.prepare(side_by_side=1)
        requirements = ServiceRequirements(database_by_tcp=True, proxied=frozenset({"database"}))
        endpoints = stack.enter_context(services.for_run("throughput", 0, requirements))
        plain = endpoints.database_through.replace("+psycopg", "")
        direct = endpoints.database_url.replace("+psycopg", "")
        dial = direct.partition("@")[2].partition("/")[0]
        proxy = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "duetime.explore.proxy", dial, "client"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**composed(), **owner_env(tempdir)},
            )
        )  # fmt: skip
        stack.callback(proxy.kill)
        assert proxy.stdout
        port = int(proxy.stdout.readline().decode().partition('"port": ')[2].rstrip("}\n"))
        through = direct.replace(dial, f"127.0.0.1:{port}")
        for _ in range(ROUNDS):
            for name, url in (("plain", plain), ("stepping", through)):
                rates[name].append(rate(url))
    ratios = [one / other for one, other in zip(rates["stepping"], rates["plain"], strict=True)]
    return (
        f"Letting everything through, the stepping proxy carries {statistics.median(ratios):.2f} times as many round "
        f"trips as the proxy of the faults (median of {ROUNDS} rounds of {QUERIES:,}, side by side, from "
        f"{min(ratios):.2f} to {max(ratios):.2f}; chunks of {CHUNK:,} bytes)."
    )


def rate(url: str) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        began_s = time.monotonic()
        for _ in range(QUERIES):
            connection.execute("SELECT 1")
        return QUERIES / (time.monotonic() - began_s)


if __name__ == "__main__":
    try:
        main()
    except BadUsage as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
