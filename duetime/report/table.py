"""The matrix in a terminal: plain text in a pipe, colour and boxes where somebody looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STYLES = {"pass": "green", "fail": "red", "unknown": "yellow", "not applicable": "dim"}
OTHERS = ("late", "early", "phantom", "stale", "zombie", "excused", "recovered", "indeterminate")
PIPE_WIDTH = 160


def console() -> Console:
    """Standard output for people; in a pipe as wide as the table needs, without colour."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=PIPE_WIDTH, no_color=True)


def print_matrix(to: Console, cells: Sequence[Mapping[str, Any]]) -> None:
    """Print one row a cell, then one sentence for each that did not pass."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("scenario", "design", "seed", "verdict", "promised"):
        table.add_column(name, no_wrap=True)
    for name in ("delivered", "missed", "duplicate"):
        table.add_column(name, justify="right")
    table.add_column("other")
    for name in ("p50", "p99", "max"):
        table.add_column(f"{name} s", justify="right")
    previous = None
    for cell in cells:
        if previous not in (None, cell["scenario"]):
            table.add_section()
        table.add_row(*_row(cell))
        previous = cell["scenario"]
    to.print(table)
    to.print("\np50, p99, max: lateness in seconds, over everything that was delivered.")
    for cell in cells:
        if cell["outcome"] != "pass":
            to.print(f"\n[bold]{cell['scenario']} / {cell['design']}[/]  seed {cell['seed']}")
            to.print(f"  {escape(cell['explanation'])}")
            if cell["outcome"] == "fail":
                to.print(f"  [dim]Known weakness: {escape(cell['weakness'])}.[/]")


def _row(cell: Mapping[str, Any]) -> list[str]:
    counts = cell["counts"]
    style = STYLES[cell["outcome"]]
    lateness = cell["lateness_s"].get("raw", {})
    kept = {True: "yes", False: "[red]no[/]", None: "-"}[cell["promised"]]
    return [
        cell["scenario"],
        cell["design"],
        str(cell["seed"]),
        f"[{style}]{cell['outcome']}[/]",
        kept,
        *(str(counts.get(name, "-")) for name in ("delivered", "missed", "duplicate")),
        " ".join(f"{name} {counts[name]}" for name in OTHERS if counts.get(name)) or "-",
        *(_seconds(lateness.get(name)) for name in ("p50", "p99", "max")),
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
