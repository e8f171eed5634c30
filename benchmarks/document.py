"""Writes what a run of the benchmarks found into docs/performance.md, and its pictures beside it.

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

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"
PICTURES = DOCS / "pictures"
PLACE = re.compile(r"(<!-- (?P<name>test_\w+|conditions|capacity) -->\n).*?(<!-- end -->)", re.DOTALL)

DAY_S, A_DAY, PEAK, WAITS_D = 86_400, 1e9, 10, 14
"""A billion notifications a day, a peak of ten times the average, scheduled two weeks ahead."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 740, 360, 64, 230, 16, 48
# Okabe and Ito's colours, told apart by people who see few; each line has its own dashes as well.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("", "8 3", "2 3", "10 3 2 3", "5 5", "1 5")

SVG = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" role="img"
 font-family="sans-serif" font-size="12">
<title>{{ y }} against {{ x }}</title>
<rect width="100%" height="100%" fill="#fff"/>
{% for at, words in x_ticks %}
<line x1="{{ at }}" x2="{{ at }}" y1="{{ top }}" y2="{{ floor }}" stroke="#ddd"/>
<text x="{{ at }}" y="{{ floor + 16 }}" text-anchor="middle">{{ words }}</text>
{% endfor %}
{% for at, words in y_ticks %}
<line x1="{{ left }}" x2="{{ wall }}" y1="{{ at }}" y2="{{ at }}" stroke="#ddd"/>
<text x="{{ left - 6 }}" y="{{ at + 4 }}" text-anchor="end">{{ words }}</text>
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
    """Where a value stands between two ends of the picture, and where a reader finds round numbers."""

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
    """`plot` as an SVG that needs nothing else."""
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
    """One benchmark's sentences, and its table."""
    sentences = "\n".join(f"- {sentence}" for sentence in info["said"])
    table = info["table"]
    rows = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
    return f"{sentences}\n\n" + "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows) + "\n"


def conditions(measured: Sequence[Mapping[str, Any]], command: str) -> str:
    """Of the first; of others what was measured at another commit."""
    first, *others = measured
    machine, commit = first["machine_info"], first["commit_info"]["id"]
    if changed := [run["benchmarks"][0]["name"] for run in measured if run["commit_info"]["dirty"]]:
        raise click.ClickException(f"{', '.join(changed)} and what goes with it: measured with uncommitted changes")
    later = {
        one["name"]: run["commit_info"]["id"]
        for run in others
        for one in run["benchmarks"]
        if run["commit_info"]["id"] != commit
    }
    at = "".join(f"; `{name}` at {other[:7]}" for name, other in later.items())
    return (
        f"`{command}`, {first['datetime'][:10]}, commit {commit[:7]}{at}, {machine['cpu']['count']} shared cores "
        f"({machine['cpu'].get('brand_raw', machine['machine'])}), Python {machine['python_version']}.\n"
    )


def cell(infos: Mapping[str, Any], test: str, row: int | str, column: int) -> float:
    """One figure of a benchmark's table, by the row's number or its first words."""
    rows = infos[test]["table"]["rows"]
    found = rows[row] if isinstance(row, int) else next(one for one in rows if one[0] == row)
    return float(str(found[column]).replace(",", ""))


NEEDED = {
    "test_drain_a_backlog",
    "test_schedule_in_bulk",
    "test_schedule_one_at_a_time",
    "test_churn_of_one_large_backlog",
    "test_memory_of_a_server",
}


def capacity(infos: Mapping[str, Any]) -> str:
    """What follows for a billion notifications a day, from what was measured; every line says how."""
    drained = cell(infos, "test_drain_a_backlog", "push_readmodel", 1)
    in_bulk = cell(infos, "test_schedule_in_bulk", "schedule_many", 1)
    singly = cell(infos, "test_schedule_one_at_a_time", "schedule()", 1)
    logged = cell(infos, "test_churn_of_one_large_backlog", "nobody", 2)
    pending = [row for row in infos["test_memory_of_a_server"]["table"]["rows"] if row[0] == "push_readmodel"][-1]
    stored = float(pending[3].replace(",", "")) * 1024 / float(pending[1].replace(",", ""))
    average = A_DAY / DAY_S
    peak = PEAK * average
    rows = [
        ("what one machine like this one drains", f"{drained:,.0f} a second", "measured, its PostgreSQL included"),
        ("in a day, if it did nothing else", f"{drained * DAY_S / 1e9:.1f} billion", "that × 86,400"),
        ("a billion a day, on average", f"{average:,.0f} a second", "10⁹ ÷ 86,400"),
        (f"at its peak, {PEAK} times that", f"{peak:,.0f} a second", "everybody's nine o'clock"),
        ("machines that drain that peak on time", f"{math.ceil(peak / drained)}", "peak ÷ drained"),
        (
            "connections that schedule the average in bulk",
            f"{average / in_bulk:.2f}",
            f"average ÷ {in_bulk:,.0f} rows a second",
        ),
        (
            "connections that schedule it one by one",
            f"{math.ceil(average / singly)}",
            f"average ÷ {singly:,.0f} a second each",
        ),
        ("write-ahead log, on average", f"{average * logged / 1e6:.0f} MB a second", f"average × {logged:.0f} bytes"),
        ("write-ahead log, at the peak", f"{peak * logged / 1e6:.0f} MB a second", f"peak × {logged:.0f} bytes"),
        ("a row that waits, with its indexes and an empty payload", f"{stored:.0f} bytes", f"of {pending[1]} pending"),
        (
            f"{WAITS_D} days' worth of them",
            f"{A_DAY * WAITS_D * stored / 1e12:.1f} TB",
            "what is scheduled so long ahead",
        ),
        ("rows whose table and indexes fit 16 GB", f"{16e9 / stored / 1e6:.0f} million", "16 GB ÷ that"),
    ]
    return (
        "\n".join(f"| {' | '.join(row)} |" for row in [("what", "how much", "from"), ("---", "---", "---"), *rows])
        + "\n"
    )


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--command", default="make performance", help="what made FILES, for the reader")
def main(files: Sequence[Path], command: str) -> None:
    """Put the findings of FILES, each a --benchmark-json of these benchmarks, into docs/performance.md."""
    measured = [json.loads(file.read_text()) for file in files]
    infos = {one["name"]: one["extra_info"] for run in measured for one in run["benchmarks"]}
    made = {name: section(info) for name, info in infos.items() if "table" in info}
    made["conditions"] = conditions(measured, command)
    if infos.keys() >= NEEDED:
        made["capacity"] = capacity(infos)
    text = PAGE.read_text()
    if missing := made.keys() - {found["name"] for found in PLACE.finditer(text)}:
        raise click.ClickException(f"{PAGE.name} has no place for {', '.join(sorted(missing))}")
    PAGE.write_text(PLACE.sub(lambda found: f"{found[1]}{made.get(found['name'], '(not measured)')}{found[3]}", text))
    for info in infos.values():
        for name, plot in info.get("plots", {}).items():
            (PICTURES / f"{name}.svg").write_text(picture(plot))
    click.echo(f"{PAGE} and its pictures are of {', '.join(map(str, files))}")


if __name__ == "__main__":
    main()
