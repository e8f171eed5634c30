"""Write the results of the benchmarks into docs/performance.md, and their pictures into docs/pictures.

``pytest benchmarks/ --size=full --benchmark-json=FILE``, then ``python -m benchmarks.document FILE…``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from jinja2 import Environment

from duetime.league.tables import wrapped

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"
PICTURES = DOCS / "pictures"
SECTION = re.compile(r"(<!-- (?P<name>test_\w+|conditions|capacity|more_servers) -->\n).*?(<!-- end -->)", re.DOTALL)

DAY_S, PER_DAY, PEAK, AHEAD_DAYS = 86_400, 1e9, 10, 14
"""A billion notifications a day, a peak of ten times the average, scheduled two weeks ahead."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 740, 360, 64, 230, 16, 48
# The palette of Okabe and Ito, for colour-blind readers; each line has its own dashes, too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("", "8 3", "2 3", "10 3 2 3", "5 5", "1 5")

SVG = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" role="img"
 font-family="sans-serif" font-size="12">
<title>{{ y }} against {{ x }}</title>
<rect width="100%" height="100%" fill="#fff"/>
{% for at, label in x_ticks %}
<line x1="{{ at }}" x2="{{ at }}" y1="{{ top }}" y2="{{ floor }}" stroke="#ddd"/>
<text x="{{ at }}" y="{{ floor + 16 }}" text-anchor="middle">{{ label }}</text>
{% endfor %}
{% for at, label in y_ticks %}
<line x1="{{ left }}" x2="{{ wall }}" y1="{{ at }}" y2="{{ at }}" stroke="#ddd"/>
<text x="{{ left - 6 }}" y="{{ at + 4 }}" text-anchor="end">{{ label }}</text>
{% endfor %}
<text x="{{ (left + wall) / 2 }}" y="{{ floor + 36 }}" text-anchor="middle">{{ x }}</text>
<text transform="translate(14 {{ (top + floor) / 2 }}) rotate(-90)" text-anchor="middle">{{ y }}</text>
{% for line in lines %}
<polyline points="{{ line.points }}" fill="none" stroke="{{ line.colour }}" stroke-width="2"
 stroke-dasharray="{{ line.dashes }}"/>
<line x1="{{ wall + 12 }}" x2="{{ wall + 36 }}" y1="{{ line.at }}" y2="{{ line.at }}" stroke="{{ line.colour }}"
 stroke-width="2" stroke-dasharray="{{ line.dashes }}"/>
<text x="{{ wall + 42 }}" y="{{ line.at + 4 }}">{{ line.name }}</text>
{% endfor %}
</svg>
"""
)


class Axis:
    """Maps values to positions between two ends of the picture, and places ticks at round numbers."""

    def __init__(self, values: Sequence[float], *, logarithmic: bool, ends: tuple[float, float]) -> None:
        self._scale = math.log10 if logarithmic else float
        positive = [value for value in values if value > 0] if logarithmic else [0.0, *values]
        self._low, self._high = self._scale(min(positive)), self._scale(max(positive) * 1.02)
        self._least = min(positive)
        self._ends = ends
        if logarithmic:
            self._ticks = [10.0**power for power in range(math.ceil(self._low - 1e-9), math.floor(self._high) + 1)]
        else:
            step = 10 ** math.floor(math.log10(self._high or 1))
            step = next(step * part for part in (0.1, 0.2, 0.25, 0.5, 1) if self._high / (step * part) <= 6)
            self._ticks = [number * step for number in range(int(self._high / step) + 1)]

    def at(self, value: float) -> float:
        share = (self._scale(max(value, self._least)) - self._low) / ((self._high - self._low) or 1)
        return round(self._ends[0] + share * (self._ends[1] - self._ends[0]), 1)

    def ticks(self) -> list[tuple[float, str]]:
        return [(self.at(value), f"{value:,.10g}") for value in self._ticks]


def picture(plot: Mapping[str, Any]) -> str:
    """Return `plot` as a self-contained SVG."""
    points = [point for series in plot["series"].values() for point in series]
    wall, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    x = Axis([point[0] for point in points], logarithmic="x" in plot["logarithmic"], ends=(LEFT, wall))
    y = Axis([point[1] for point in points], logarithmic="y" in plot["logarithmic"], ends=(floor, TOP))
    lines = [
        {
            "name": name,
            "points": " ".join(f"{x.at(a)},{y.at(b)}" for a, b in series),
            "colour": COLOURS[number % len(COLOURS)],
            "dashes": DASHES[number % len(DASHES)],
            "at": TOP + 12 + 20 * number,
        }
        for number, (name, series) in enumerate(plot["series"].items())
    ]
    size = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "wall": wall, "top": TOP, "floor": floor}
    return SVG.render(x=plot["x"], y=plot["y"], x_ticks=x.ticks(), y_ticks=y.ticks(), lines=lines, **size)


def section(info: Mapping[str, Any]) -> str:
    """Return the conclusions and the table of one benchmark, as Markdown."""
    sentences = "\n".join(wrapped(f"- {sentence}", hanging="  ") for sentence in info["conclusions"])
    table = info["table"]
    rows = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
    return f"{sentences}\n\n" + "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows) + "\n"


def conditions(measured: Sequence[Mapping[str, Any]], command: str) -> str:
    """Return the conditions of the first run, and the other benchmarks' commits where they differ."""
    first, *others = measured
    machine, commit = first["machine_info"], first["commit_info"]["id"]
    if changed := [run["benchmarks"][0]["name"] for run in measured if run["commit_info"]["dirty"]]:
        raise click.ClickException(
            f"measured with uncommitted changes: the file of {', '.join(changed)}; commit, and measure again"
        )
    later = {
        result["name"]: run["commit_info"]["id"]
        for run in others
        for result in run["benchmarks"]
        if run["commit_info"]["id"] != commit
    }
    at = "".join(f"; `{name}` at {other[:7]}" for name, other in later.items())
    sentence = (
        f"`{command}`, {first['datetime'][:10]}, commit {commit[:7]}{at}, {machine['cpu']['count']} shared cores "
        f"({machine['cpu'].get('brand_raw', machine['machine'])}), Python {machine['python_version']}."
    )
    return wrapped(sentence) + "\n"


def cell(infos: Mapping[str, Any], test: str, row: int | str, column: int) -> float:
    """Return one figure of a benchmark's table, by the number of the row or its first cell."""
    rows = infos[test]["table"]["rows"]
    cells = rows[row] if isinstance(row, int) else next(cells for cells in rows if cells[0] == row)
    return float(str(cells[column]).replace(",", ""))


NEEDED = {
    "test_drain_a_backlog",
    "test_schedule_in_bulk",
    "test_schedule_one_at_a_time",
    "test_churn_of_one_large_backlog",
    "test_memory_of_a_worker",
}


def capacity(infos: Mapping[str, Any]) -> str:
    """Return what a billion notifications a day would need, computed from the measurements, as Markdown."""
    drained = cell(infos, "test_drain_a_backlog", "push_readmodel", 1)
    in_bulk = cell(infos, "test_schedule_in_bulk", "schedule_many", 1)
    one_by_one = cell(infos, "test_schedule_one_at_a_time", "schedule()", 1)
    wal_bytes = cell(infos, "test_churn_of_one_large_backlog", "nothing", 2)
    pending = [row for row in infos["test_memory_of_a_worker"]["table"]["rows"] if row[0] == "push_readmodel"][-1]
    row_bytes = float(pending[3].replace(",", "")) * 1024 / float(pending[1].replace(",", ""))
    average = PER_DAY / DAY_S
    peak = PEAK * average
    rows = [
        ("one machine like this one drains", f"{drained:,.0f} a second", "measured, its PostgreSQL included"),
        ("in a day, if it did nothing else", f"{drained * DAY_S / 1e9:.1f} billion", "that × 86,400"),
        ("a billion a day, on average", f"{average:,.0f} a second", "10⁹ ÷ 86,400"),
        (f"at its peak, {PEAK} times that", f"{peak:,.0f} a second", "average × 10"),
        ("machines that drain that peak on time", f"{math.ceil(peak / drained)}", "peak ÷ drained"),
        (
            "connections that schedule the average in bulk",
            f"{average / in_bulk:.2f}",
            f"average ÷ {in_bulk:,.0f} rows a second",
        ),
        (
            "connections that schedule it one by one",
            f"{math.ceil(average / one_by_one)}",
            f"average ÷ {one_by_one:,.0f} a second each",
        ),
        (
            "write-ahead log, on average",
            f"{average * wal_bytes / 1e6:.0f} MB a second",
            f"average × {wal_bytes:.0f} bytes",
        ),
        ("write-ahead log, at the peak", f"{peak * wal_bytes / 1e6:.0f} MB a second", f"peak × {wal_bytes:.0f} bytes"),
        ("a pending row, with its indexes and an empty payload", f"{row_bytes:.0f} bytes", f"of {pending[1]} pending"),
        (
            f"pending rows of {AHEAD_DAYS} days",
            f"{PER_DAY * AHEAD_DAYS * row_bytes / 1e12:.1f} TB",
            "scheduled that far ahead",
        ),
        ("rows whose table and indexes fit 16 GB", f"{16e9 / row_bytes / 1e6:.0f} million", "16 GB ÷ bytes of a row"),
    ]
    return (
        "\n".join(
            f"| {' | '.join(row)} |" for row in [("quantity", "value", "computed from"), ("---", "---", "---"), *rows]
        )
        + "\n"
    )


OF_SHARDS = {"test_drain_two_servers", "test_calls_on_two_servers"}


def more_servers(infos: Mapping[str, Any]) -> str:
    """Return what a billion notifications a day would need of PostgreSQL, derived from the costs of one, as Markdown.

    Nothing of it was measured: it assumes that each costs the same at a higher rate.
    """
    average, peak = PER_DAY / DAY_S, PEAK * PER_DAY / DAY_S
    deliver_us, worker_us = (cell(infos, "test_drain_two_servers", "one server", column) for column in (3, 4))
    alone = "one server, due in 30 days"
    schedule_us, client_us = (cell(infos, "test_calls_on_two_servers", alone, column) for column in (3, 4))
    rows = [
        ("PostgreSQL, to schedule the average one by one", average * schedule_us, f"average × {schedule_us:.0f} µs"),
        ("the application, for its calls", average * client_us, f"average × {client_us:.0f} µs"),
        ("PostgreSQL, to deliver the peak", peak * deliver_us, f"peak × {deliver_us:.0f} µs"),
        ("workers, to deliver the peak", peak * worker_us, f"peak × {worker_us:.0f} µs"),
    ]
    lines = ["| derived, not measured | cores | computed from |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {what} | {us / 1e6:.1f} | {how} |" for what, us, how in rows)]) + "\n"


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--command", default="make performance", help="the command that made FILES, shown on the page")
def main(files: Sequence[Path], command: str) -> None:
    """Write the results in FILES, each a --benchmark-json of these benchmarks, into docs/performance.md."""
    measured = [json.loads(file.read_text()) for file in files]
    infos = {result["name"]: result["extra_info"] for run in measured for result in run["benchmarks"]}
    sections = {name: section(info) for name, info in infos.items() if "table" in info}
    sections["conditions"] = conditions(measured, command)
    if infos.keys() >= NEEDED:
        sections["capacity"] = capacity(infos)
    if infos.keys() >= OF_SHARDS:
        sections["more_servers"] = more_servers(infos)
    text = PAGE.read_text()
    if missing := sections.keys() - {match["name"] for match in SECTION.finditer(text)}:
        raise click.ClickException(
            f"{PAGE.name} has no section for {', '.join(sorted(missing))}; add <!-- NAME --> and <!-- end -->"
        )
    PAGE.write_text(
        SECTION.sub(lambda match: f"{match[1]}{sections.get(match['name'], '(not measured)')}{match[3]}", text)
    )
    for info in infos.values():
        for name, plot in info.get("plots", {}).items():
            (PICTURES / f"{name}.svg").write_text(picture(plot))
    click.echo(f"wrote {PAGE} and its pictures from {', '.join(map(str, files))}")


if __name__ == "__main__":
    main()
