"""One self-contained HTML page about stored runs. It uses no network and does not change a verdict."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from duetime.pages import DOCS
from duetime.report.benchmarks import benchmark_bars
from duetime.report.conclusions import conclusions, mechanism_for, unexplained, violations_of
from duetime.report.lane import Numbers
from duetime.report.opening import advice, general_fix, in_words, opening, severity
from duetime.report.picture import Picture, load_picture
from duetime.report.rates import labelled, rates
from duetime.shell_command import shell_command

ASSETS = Path(__file__).with_name("assets")
STYLES = ("common.css", "report.css")
SCRIPTS = ("marks.js", "lanes.js", "story.js", "charts.js", "report.js")

CONTENDERS = f"{DOCS}/league.md#what-each-does-under-faults"

Cell = Mapping[str, Any]
"""One cell as ``compare --json`` prints it."""


def write_page(
    cells: Sequence[Cell],
    path: Path,
    *,
    descriptions: Mapping[str, str],
    benchmark: Mapping[str, Any] | None = None,
    pictures: Mapping[str, Picture] | None = None,
) -> Path:
    """Write the page completely or not at all.

    descriptions: of scenarios, by name. benchmark: JSON of pytest-benchmark. pictures: by run directory, of runs that
    are loaded already.

    Raises:
        OSError: the page cannot be written.
    """
    draft = path.with_name(f"{path.name}.draft")
    try:
        html = page(cells, descriptions=descriptions, benchmark=benchmark, pictures=pictures)
        draft.write_text(html, encoding="utf-8")
        return draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def page(
    cells: Sequence[Cell],
    *,
    descriptions: Mapping[str, str],
    benchmark: Mapping[str, Any] | None = None,
    pictures: Mapping[str, Picture] | None = None,
) -> str:
    cells = labelled(cells)
    views = [_CellView(cell, known=descriptions, picture=(pictures or {}).get(cell["run_dir"])) for cell in cells]
    drawn = [view for view in views if view.picture]
    scenarios = list(dict.fromkeys(cell["scenario"] for cell in cells))
    opens = opening(cells)
    data = {
        "scenarios": {cell["scenario"]: descriptions.get(cell["base"], "") for cell in cells},
        "runs": [view.for_script() for view in drawn],
        "opens_on": max(drawn, key=lambda view: severity(view.cell)).address if drawn else None,
    }
    environment = Environment(
        loader=PackageLoader("duetime.report", "assets"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        designs=list(dict.fromkeys(cell["design"] for cell in cells)),
        scenarios=scenarios,
        seeds=sorted({cell["seed"] for cell in cells}),
        opening=opens,
        worst=next(view for view in views if view.cell is opens.worst_cell),
        advice=advice(cells),
        conclusions=conclusions(cells),
        matrix=_matrix(cells, views),
        rows=views,
        versions=_versions(drawn),
        bases=_bases(drawn),
        benchmarks=benchmark_bars(benchmark) if benchmark else None,
        data=_json_for_html(data),
        lanes=[view.picture.lane for view in drawn if view.picture],
        # Markup: files of this package, which must not be escaped.
        css=Markup("\n".join((ASSETS / name).read_text(encoding="utf-8") for name in STYLES)),  # noqa: S704
        scripts=[Markup((ASSETS / name).read_text(encoding="utf-8")) for name in SCRIPTS],  # noqa: S704
    )


class _CellView:
    """One cell with the picture of its run.

    known: names of scenarios; a run of another scenario is repeated from its plan.
    """

    def __init__(self, cell: Cell, *, known: Collection[str], picture: Picture | None) -> None:
        self.cell = cell
        self.known = known
        self.picture = picture or load_picture(Path(cell["run_dir"]))
        self.plan: Mapping[str, Any] = self.picture.plan if self.picture else {}

    @property
    def command(self) -> str:
        cell, design = self.cell, self.plan.get("loaded_as", self.cell["design"])
        if cell["base"] not in self.known:
            return shell_command("run", design, Path(cell["run_dir"]) / "plan.json")
        slow = ("--slow", f"{cell['slow']:g}") if cell.get("slow", 1) != 1 else ()
        return shell_command("run", design, cell["base"], "--seed", str(cell["seed"]), *slow)

    @property
    def address(self) -> dict[str, str]:
        """The fragment of the page's address that opens this cell."""
        return {"show": f"{self.cell['scenario']} seed {self.cell['seed']}", "design": self.cell["design"]}

    @property
    def fragment(self) -> str:
        """For a run that is not drawn, its row in the table."""
        return urlencode(self.address, quote_via=quote) if self.picture else self.row

    @property
    def row(self) -> str:
        """The id of its row in the table."""
        return quote(f"run {self.address['show']} {self.cell['design']}".replace(" ", "-"), safe=":")

    @property
    def lateness(self) -> str:
        raw = self.cell["lateness_s"].get("raw", {})
        known = [f"{raw[name]:.3f}" for name in ("p50", "p99", "max") if raw.get(name) is not None]
        return f"{', '.join(known)} s" if known else "-"

    @property
    def brief(self) -> str:
        counts = self.cell["counts"]
        delivered = f"{counts['arrived']} of {counts['owed']}" if "arrived" in counts else counts.get("delivered")
        return in_words(violations_of(self.cell)) or (f"{delivered} delivered" if counts else "")

    def for_script(self) -> Numbers:
        """The run for the script. causes: by violation, why it came about."""
        fields = ("scenario", "seed", "within_guarantees", "design", "explanation")
        causes = {label: _cause(self.cell, label) for label in violations_of(self.cell)}
        return {**{name: self.cell[name] for name in fields}, "command": self.command, "causes": causes}


def _cause(cell: Cell, label: str) -> Numbers | None:
    """Why a cell has violations of this kind, and where that is described; None for a design of the reader's own."""
    mechanism = mechanism_for(cell, label)
    if mechanism:
        fields = {name: getattr(mechanism, name) for name in ("cause", "setting", "upstream", "better", "page")}
        return {**fields, "fix": mechanism.fix or general_fix(label)}
    if not cell["design"].startswith("contender:"):
        return None
    return {"cause": unexplained(cell["weakness"]), "fix": general_fix(label), "page": CONTENDERS}


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of the matrix: the worst run of a design in a scenario, and the rate of failed runs of several."""

    view: _CellView
    rate: str


def _matrix(cells: Sequence[Cell], views: Sequence[_CellView]) -> Mapping[tuple[str, str], _Entry]:
    rate_of = {(rate.scenario, rate.design): rate for rate in rates(cells)}
    by_place: dict[tuple[str, str], list[_CellView]] = {}
    for view in views:
        by_place.setdefault((view.cell["scenario"], view.cell["design"]), []).append(view)
    entries = {}
    for place, found in by_place.items():
        rate = rate_of.get(place)
        several = rate is not None and rate.n + rate.unknown > 1
        # Of equal runs, the one with the lowest seed.
        worst = max(found, key=lambda view: (severity(view.cell), -view.cell["seed"]))
        entries[place] = _Entry(worst, f"{rate.bad}/{rate.n}" if rate and several else "")
    return entries


def _versions(views: Iterable[_CellView]) -> list[tuple[str, str]]:
    """Name and versions of everything that took part."""
    found: dict[str, dict[str, None]] = {}
    for view in views:
        for name, version in view.plan.get("versions", {}).items():
            found.setdefault(name, {})[str(version)] = None
    return [(name, " and ".join(versions)) for name, versions in found.items()]


def _bases(views: Sequence[_CellView]) -> list[Numbers]:
    """By scenario and seed: the profile, and the checks that make a verdict meaningful."""
    bases: dict[tuple[str, int], Numbers] = {}
    for view in views:
        if view.picture is None:
            continue
        cell = view.cell
        basis = bases.setdefault(
            (cell["scenario"], cell["seed"]),
            {
                "name": f"{cell['scenario']} seed {cell['seed']}",
                "plan_hash": view.plan.get("plan_hash", ""),
                "profile": [(name, _plain(value)) for name, value in view.plan["profile"].items() if value is not None],
                "vacuity": [],
            },
        )
        basis["vacuity"] += [{"design": cell["design"], **need} for need in view.picture.results["vacuity"]]
    return list(bases.values())


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _json_for_html(data: object) -> Markup:
    """JSON that cannot end the element around it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - it holds no markup after the replacement
