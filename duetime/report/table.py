"""The matrix in a terminal: with colour, or plain text in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from duetime.checker import VIOLATIONS
from duetime.report.rates import Rate, labelled, rates

STYLES = {"pass": "green", "fail": "red", "unknown": "yellow", "not applicable": "dim"}
COUNT_COLUMNS = ("delivered", "missed", "duplicate")
OTHERS = (
    *("lost", "stuck", "failed"),
    *(label for label in VIOLATIONS if label not in COUNT_COLUMNS),
    *("zombie", "excused", "recovered", "indeterminate"),
)
PIPE_WIDTH = 160


class PipeConsole(Console):
    """A console that leaves a broken pipe to the command, whose exit status tells more than rich's 1."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        raise BrokenPipeError


def console() -> Console:
    """Standard output; in a pipe wide enough for the table, and without colour."""
    plain = PipeConsole(highlight=False)
    return plain if plain.is_terminal else PipeConsole(highlight=False, width=PIPE_WIDTH, no_color=True)


def print_matrix(to: Console, cells: Sequence[Mapping[str, Any]]) -> None:
    """Print one row for each cell, then an explanation of each that did not pass."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("scenario", "design", "seed", "verdict", "guarantee"):
        table.add_column(name, no_wrap=True)
    for name in COUNT_COLUMNS:
        table.add_column(name, justify="right")
    table.add_column("other")
    for name in ("p50", "p99", "max"):
        table.add_column(f"{name} s", justify="right")
    previous, cells = None, labelled(cells)
    for cell in cells:
        if previous not in (None, cell["scenario"]):
            table.add_section()
        table.add_row(*_row(cell))
        previous = cell["scenario"]
    to.print(table)
    to.print("\nguarantee: whether the violations are ones that the design's guarantees allow.")
    to.print("p50, p99, max: lateness in seconds of everything that was delivered.")
    for cell in cells:
        if cell["outcome"] != "pass":
            to.print(f"\n[bold]{cell['scenario']} / {cell['design']}[/]  seed {cell['seed']}")
            to.print(f"  {escape(cell['explanation'])}")
            if cell["outcome"] == "fail":
                to.print(f"  [dim]Known weakness: {escape(cell['weakness'])}.[/]")


def print_overview(to: Console, cells: Sequence[Mapping[str, Any]]) -> None:
    """Print one row for each scenario and one column for each design: the result of each cell over all its seeds."""
    cells = labelled(cells)
    designs = list(dict.fromkeys(cell["design"] for cell in cells))
    found = {(rate.scenario, rate.design): rate for rate in rates(cells)}
    several = any(rate.n + rate.unknown > 1 for rate in found.values())
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("scenario", no_wrap=True)
    for design in designs:
        # The variant's name goes into a second line; otherwise nine columns would not fit.
        table.add_column(design.replace(":", "\n:"), overflow="fold")
    for scenario in dict.fromkeys(cell["scenario"] for cell in cells):
        row = [_summary(found.get((scenario, design)), several=several) for design in designs]
        table.add_row(scenario, *row)
    to.print(table)
    if several:
        to.print("\nfailed runs of those judged, with the 95 % interval of the rate; the unit is the run")


def _summary(rate: Rate | None, *, several: bool) -> str:
    if rate is None:
        return "[dim]n/a[/]"
    if not rate.n:
        return "[yellow]unknown[/]"
    style = STYLES["fail" if rate.bad else "pass"]
    unknown = f" [yellow]{rate.unknown} unknown[/]" if rate.unknown else ""
    return f"[{style}]{rate if several else 'fail' if rate.bad else 'pass'}[/]{unknown}"


def _row(cell: Mapping[str, Any]) -> list[str]:
    counts = cell["counts"]
    style = STYLES[cell["outcome"]]
    lateness = cell["lateness_s"].get("raw", {})
    guarantee = {True: "kept", False: "[red]BROKEN[/]", None: "-"}[cell["within_guarantees"]]
    return [
        cell["scenario"],
        cell["design"],
        str(cell["seed"]),
        f"[{style}]{cell['outcome']}[/]",
        guarantee,
        *(str(counts.get(name, "-")) for name in COUNT_COLUMNS),
        " ".join(f"{name} {counts[name]}" for name in OTHERS if counts.get(name)) or "-",
        *(_seconds(lateness.get(name)) for name in ("p50", "p99", "max")),
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
