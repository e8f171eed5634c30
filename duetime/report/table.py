"""The comparison in a terminal, with colour, or as plain text in a pipe: conclusion, overview, details, causes."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from duetime.checker import VIOLATIONS
from duetime.report.conclusions import Failure, cause_of, conclusions, example, failures, telling, verdict
from duetime.report.logs import exceptions
from duetime.report.mechanisms import is_ours
from duetime.report.rates import Rate, labelled, rates
from duetime.shell_command import shell_command

STYLES = {"pass": "green", "fail": "red", "unknown": "yellow", "not applicable": "dim"}
MARKS = {"pass": "✓", "fail": "✗", "unknown": "?", "not applicable": "-"}
PLAIN_MARKS = {"pass": "pass", "fail": "FAIL", "unknown": "?", "not applicable": "-"}
"""Where the terminal's encoding has no check mark."""
COUNT_COLUMNS = {"owed": "owed", "arrived": "delivered", "missed": "missed", "duplicate": "duplicate"}
"""Count in the results: its name in the table, where the delivered are those that were owed."""
OTHERS = (
    *("lost", "stuck", "failed"),
    *(label for label in VIOLATIONS if label not in COUNT_COLUMNS),
    *("zombie", "excused", "recovered", "indeterminate"),
)
LATENESS = ("p50", "p99", "max")
PIPE_WIDTH = 1000
"""No row is folded in a pipe, so that each can be found with grep."""
PROSE_WIDTH = 120
"""Longer lines are hard to read."""
KEEP = "\xa0"
"""A space at which no line is broken, between a number and its unit."""
MOST_SUGGESTED = 2
LONGEST_OVERVIEW = 3
"""An overview says no more than the details for fewer cells than this."""


class PipeConsole(Console):
    """A console that leaves a broken pipe to the command, whose exit status tells more than rich's 1."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        raise BrokenPipeError


def console() -> Console:
    """Standard output; in a pipe wide enough for every line, and without colour."""
    plain = PipeConsole(highlight=False)
    return plain if plain.is_terminal else PipeConsole(highlight=False, width=PIPE_WIDTH, no_color=True)


def print_comparison(to: Console, cells: Sequence[Mapping[str, Any]]) -> None:
    """Print one line for each design, the overview, a row for each cell, and why each failed or proves nothing."""
    cells = labelled(cells)
    for conclusion in conclusions(cells):
        failing = {None: "red", True: "yellow", False: "bold red"}[conclusion.within_guarantees]
        style = failing if conclusion.fails else "green"
        _paragraph(to, conclusion.design, conclusion.sentence, style=style)
    if len(cells) > LONGEST_OVERVIEW:
        to.print()
        _print_overview(to, cells)
    to.print()
    _print_details(to, cells)
    for failure in failures(cells):
        _print_failure(to, failure)
    for cell in cells:
        if cell["outcome"] in ("unknown", "not applicable"):
            to.print()
            _paragraph(to, f"{_place(cell)}: {cell['outcome']}:", cell["explanation"])
            if log := _log([cell]):
                _paragraph(to, "  log:", log, lead_style="dim", indent="    ")


def print_overview(to: Console, cells: Sequence[Mapping[str, Any]]) -> None:
    """Print a line for each scenario and a column for each design, in several tables if they are too many for one."""
    _print_overview(to, labelled(cells))


def _print_overview(to: Console, cells: Sequence[Mapping[str, Any]]) -> None:
    designs = list(dict.fromkeys(cell["design"] for cell in cells))
    found = {(rate.scenario, rate.design): rate for rate in rates(cells)}
    marks = MARKS if _can_print(to, "".join(MARKS.values())) else PLAIN_MARKS
    several = any(rate.n + rate.unknown > 1 for rate in found.values())
    scenarios = list(dict.fromkeys(cell["scenario"] for cell in cells))
    columns = {
        design: [_summary(cells, found.get((scenario, design)), scenario, design, marks) for scenario in scenarios]
        for design in designs
    }
    width = max(map(len, ["scenario", *scenarios]))
    while columns:
        fitting = _fitting(columns, to.width - width)
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("scenario", no_wrap=True)
        for design in fitting:
            table.add_column(design.replace(":", "\n:"), no_wrap=True)
        for number, scenario in enumerate(scenarios):
            table.add_row(scenario, *(columns[design][number] for design in fitting))
        to.print(table)
        columns = {design: column for design, column in columns.items() if design not in fitting}
        if columns:
            to.print()
    if several:
        to.print("failed runs of those judged, with the 95 % interval of the rate; the unit is the run")


def _fitting(columns: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """The first designs whose columns fit into `width` beside the scenario's, at least one."""
    fitting: list[str] = []
    for design, column in columns.items():
        names = design.replace(":", "\n:").splitlines()
        width -= max(len(text) for text in [*names, *map(_visible, column)]) + 2
        if fitting and width < 0:
            break
        fitting.append(design)
    return fitting


def _visible(markup: str) -> str:
    return Console().render_str(markup).plain


def _summary(
    cells: Sequence[Mapping[str, Any]], rate: Rate | None, scenario: str, design: str, marks: Mapping[str, str]
) -> str:
    if rate is None:
        return f"[dim]{marks['not applicable']}[/]"
    if not rate.n:
        return f"[yellow]{marks['unknown']}[/]"
    outcome = "fail" if rate.bad else "pass"
    here = [cell for cell in cells if (cell["scenario"], cell["design"], cell["outcome"]) == (scenario, design, "fail")]
    one = rate.n + rate.unknown == 1
    kinds = telling(here[0]) if one and here else next((telling(cell).partition(" ")[0] for cell in here), "")
    parts = [marks[outcome], *([] if one else [str(rate)]), *([kinds] if kinds else [])]
    unknown = f" [yellow]{rate.unknown} unknown[/]" if rate.unknown else ""
    return f"[{STYLES[outcome]}]{' '.join(parts)}[/]{unknown}"


def _can_print(to: Console, text: str) -> bool:
    try:
        text.encode(to.encoding)
    except UnicodeEncodeError:
        return False
    return True


def _print_details(to: Console, cells: Sequence[Mapping[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("scenario", "design", "seed", "verdict"):
        table.add_column(name, no_wrap=True)
    for name in COUNT_COLUMNS.values():
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("other", no_wrap=True)
    for name in LATENESS:
        table.add_column(f"{name} s", justify="right", no_wrap=True)
    previous = None
    for cell in cells:
        if previous not in (None, cell["scenario"]):
            table.add_section()
        table.add_row(*_row(cell))
        previous = cell["scenario"]
    if Console(width=PIPE_WIDTH).measure(table).maximum <= to.width:
        to.print(table)
        to.print("\nowed: had to arrive; p50, p99, max: lateness in seconds of everything that was delivered")
        return
    for cell in cells:
        _paragraph(to, f"{_place(cell)}:", verdict(cell), style=_style(cell))
        if cell["counts"]:
            _paragraph(to, " ", _counts_in_words(cell))


def _place(cell: Mapping[str, Any]) -> str:
    return f"{cell['scenario']} / {cell['design']}, seed {cell['seed']}"


def _style(cell: Mapping[str, Any]) -> str:
    return "bold red" if cell["within_guarantees"] is False else STYLES[cell["outcome"]]


def _row(cell: Mapping[str, Any]) -> list[str]:
    counts = cell["counts"]
    lateness = cell["lateness_s"].get("raw", {})
    return [
        escape(cell["scenario"]),
        escape(cell["design"]),
        str(cell["seed"]),
        f"[{_style(cell)}]{verdict(cell)}[/]",
        *(str(counts.get(name, "-")) for name in COUNT_COLUMNS),
        " ".join(_others(cell)) or "-",
        *(_seconds(lateness.get(name)) for name in LATENESS),
    ]


def _counts_in_words(cell: Mapping[str, Any]) -> str:
    counts, lateness = cell["counts"], cell["lateness_s"].get("raw", {})
    shown = [f"{word} {counts[name]}" for name, word in COUNT_COLUMNS.items() if counts.get(name) or name == "owed"]
    late = [f"{name} {_seconds(lateness[name])} s" for name in LATENESS if lateness.get(name) is not None]
    return " · ".join(item.replace(" ", KEEP) for item in [*shown, *_others(cell), *late])


def _others(cell: Mapping[str, Any]) -> list[str]:
    return [f"{name} {cell['counts'][name]}" for name in OTHERS if cell["counts"].get(name)]


def _print_failure(to: Console, failure: Failure) -> None:
    """Print the cause of some failing cells, what to change, and the evidence of one of them."""
    first, known = failure.cells[0], failure.mechanism
    to.print()
    _paragraph(to, f"{failure.design}:", f"{failure.summary}; {verdict(first)}")
    run_dir = Path(first["run_dir"])
    said = {
        "cause": "" if not known and is_ours(failure.design) else cause_of(failure),
        "setting": known.setting if known else "",
        "fix": known.fix if known else "",
        "upstream": known.upstream if known else "",
        "example": example(first, with_fix=not (known and known.fix)),
        "log": _log(failure.cells),
    }
    for name, text in said.items():
        if text:
            _paragraph(to, f"  {name}:", text, lead_style="dim", indent="    ")
    # In one line, so that it can be copied.
    to.print(Text.assemble(("  evidence: ", "dim"), shell_command("check", run_dir)), soft_wrap=True)


def _log(cells: Sequence[Mapping[str, Any]]) -> str:
    """The first worker that logged exceptions, of the first of `cells` that has one."""
    found = (one for cell in cells for one in exceptions(Path(cell["run_dir"])))
    return str(next(found, ""))


def try_next(cells: Sequence[Mapping[str, Any]], scenarios: Collection[str]) -> list[str]:
    """Commands worth running next: beside what failed a design without that mechanism, and more seeds.

    scenarios: the names that a command takes; the run of another plan suggests nothing.
    """
    ran = [cell for cell in labelled(cells) if cell["outcome"] != "not applicable" and cell["base"] in scenarios]
    compared = {cell["design"] for cell in ran}
    commands: list[str] = []
    for failure in failures(ran):
        better, first = failure.mechanism.better if failure.mechanism else "", failure.cells[0]
        if better and better not in compared and len(commands) < MOST_SUGGESTED:
            commands.append(_comparison([first["loaded_as"], better], [first["base"]], "--seed", first))
    if ran and len({cell["seed"] for cell in ran}) == 1:
        designs = dict.fromkeys(cell["loaded_as"] for cell in ran)
        commands.append(_comparison(designs, dict.fromkeys(cell["base"] for cell in ran), "--runs", ran[0]))
    return commands


def _comparison(designs: Iterable[str], scenarios: Iterable[str], option: str, cell: Mapping[str, Any]) -> str:
    slow = ("--slow", f"{cell['slow']:g}") if cell["slow"] != 1 else ()
    value = str(cell["seed"]) if option == "--seed" else "20"
    names = ("--designs", ",".join(designs), "--scenarios", ",".join(scenarios))
    return shell_command("compare", *names, option, value, *slow)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _paragraph(
    to: Console, lead: str, text: str, *, lead_style: str = "bold", style: str = "", indent: str = "  "
) -> None:
    """Print `lead` and `text` in lines of the console's width, between words; a longer word is not cut."""
    lines = textwrap.wrap(
        f"{lead} {text}",
        min(to.width, PROSE_WIDTH),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for number, line in enumerate(lines):
        shown = Text(line.replace(KEEP, " "), style=style)
        if not number:
            shown.stylize(lead_style, 0, len(lead))
        to.print(shown, soft_wrap=True)
