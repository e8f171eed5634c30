"""One self-contained HTML page about stored runs: no network, and no say in any verdict."""

from __future__ import annotations

import base64
import gzip
import json
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from duetime.checker import DELIVERY_VIOLATIONS, Results, judge_history
from duetime.errors import NotARun
from duetime.history import History, load
from duetime.report.lane import Numbers, lane
from duetime.report.logs import log_lines
from duetime.report.rates import rates

ASSETS = Path(__file__).with_name("assets")
STYLES = ("look.css", "report.css")
SCRIPTS = ("lanes.js", "charts.js", "report.js")
TOLD = ("missed", *DELIVERY_VIOLATIONS)
DRAWN = 10_000
"""So many notifications of one run are all drawn; of more a thousand, and a thousand of those that went wrong."""

Cell = Mapping[str, Any]
"""What ``compare --json`` prints of one cell."""


def write_page(
    cells: Sequence[Cell],
    path: Path,
    *,
    ideas: Mapping[str, str],
    benchmark: Mapping[str, Any] | None = None,
    pictures: Mapping[str, Picture] | None = None,
) -> Path:
    """Write the page whole or not at all.

    ideas: by scenario, what happens in it. benchmark: a file of pytest-benchmark's, as JSON.
    pictures: by run directory, of runs that need not be read again.

    Raises:
        OSError: it cannot be written.
    """
    draft = path.with_name(f"{path.name}.draft")
    try:
        draft.write_text(page(cells, ideas=ideas, benchmark=benchmark, pictures=pictures), encoding="utf-8")
        return draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def page(
    cells: Sequence[Cell],
    *,
    ideas: Mapping[str, str],
    benchmark: Mapping[str, Any] | None = None,
    pictures: Mapping[str, Picture] | None = None,
) -> str:
    told = [_Told(cell, known=ideas, drawn=(pictures or {}).get(cell["run_dir"])) for cell in cells]
    drawn = [one for one in told if one.picture]
    scenarios = list(dict.fromkeys(cell["scenario"] for cell in cells))
    data = {
        "scenarios": {name: ideas.get(name, "") for name in scenarios},
        "runs": [one.run() for one in drawn],
    }
    environment = Environment(
        loader=PackageLoader("duetime.report", "assets"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        designs=list(dict.fromkeys(cell["design"] for cell in cells)),
        scenarios=[{"name": name} for name in scenarios],
        seeds=sorted({cell["seed"] for cell in cells}),
        matrix=_matrix(cells, told),
        cells=[one.sentence() for one in told],
        versions=_versions(drawn),
        grounds=_grounds(drawn),
        benchmarks=_benchmarks(benchmark) if benchmark else None,
        data=_inert(data),
        lanes=[one.picture.lane for one in drawn if one.picture],
        # Markup: these are the page's own, and must not be escaped.
        css=Markup("\n".join((ASSETS / name).read_text(encoding="utf-8") for name in STYLES)),  # noqa: S704
        scripts=[Markup((ASSETS / name).read_text(encoding="utf-8")) for name in SCRIPTS],  # noqa: S704
    )


@dataclass(frozen=True, slots=True)
class Picture:
    """What the page shows of one stored run, small whatever the size of the run.

    plan, results: what it quotes of them. lane: compressed, because much of it repeats, and a page of two hundred runs
    is opened from a disk, too.
    """

    plan: Mapping[str, Any]
    results: Mapping[str, Any]
    lane: str


def picture(run_dir: Path, history: History, results: Results) -> Picture:
    """The picture of `run_dir`, whose `history` has just been read and judged."""
    plan, told = json.loads((run_dir / "plan.json").read_bytes()), results.to_json()
    drawn = lane(history, results, logs=log_lines(run_dir, history, results), at_most=DRAWN)
    text = json.dumps(drawn, ensure_ascii=False, separators=(",", ":"))
    return Picture(
        {name: plan[name] for name in ("loaded_as", "versions", "plan_hash", "profile") if name in plan},
        {"vacuity": told["vacuity"]},
        base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    )


def _picture_again(run_dir: Path) -> Picture | None:
    try:
        history = load(run_dir)
    except NotARun:
        return None
    return picture(run_dir, history, judge_history(history))


class _Told:
    """One cell, and what its run directory says about it.

    known: the scenarios that can be named; any other run is repeated by its plan.
    """

    def __init__(self, cell: Cell, *, known: Collection[str], drawn: Picture | None) -> None:
        self.cell = cell
        self.known = known
        self.picture = drawn or _picture_again(Path(cell["run_dir"]))
        self.plan: Mapping[str, Any] = self.picture.plan if self.picture else {}

    @property
    def command(self) -> str:
        cell, design = self.cell, self.plan.get("loaded_as", self.cell["design"])
        if cell["scenario"] not in self.known:
            return shlex.join(("duetime", "run", design, f"{cell['run_dir']}/plan.json"))
        return shlex.join(("duetime", "run", design, cell["scenario"], "--seed", str(cell["seed"])))

    def run(self) -> Numbers:
        """What the page's scripts draw."""
        cell = self.cell
        return {
            "scenario": cell["scenario"],
            "seed": cell["seed"],
            "within_guarantees": cell["within_guarantees"],
            "design": cell["design"],
            "command": self.command,
        }

    def brief(self) -> str:
        counts = self.cell["counts"]
        accused = [f"{counts[label]} {label}" for label in TOLD if counts.get(label)]
        return ", ".join(accused) or (f"{counts['delivered']} delivered" if counts else "")

    def sentence(self) -> Numbers:
        raw = self.cell["lateness_s"].get("raw", {})
        known = [f"{raw[name]:.3f}" for name in ("p50", "p99", "max") if raw.get(name) is not None]
        return {**self.cell, "command": self.command, "lateness": f"{', '.join(known)} s" if known else "-"}


def _matrix(cells: Sequence[Cell], told: Sequence[_Told]) -> Mapping[tuple[str, str], Numbers]:
    """What stands in each cell: the one run, or of several the worst, with how many of how many were bad."""
    found: dict[tuple[str, str], Numbers] = {}
    rate_of = {(rate.scenario, rate.design): rate for rate in rates(cells)}
    for one in told:
        at = (one.cell["scenario"], one.cell["design"])
        if at in found and (_gravity(one.cell), -one.cell["seed"]) <= (_gravity(found[at]), -found[at]["seed"]):
            continue
        rate = rate_of.get(at)
        several = rate is not None and rate.n + rate.unknown > 1
        found[at] = {**one.cell, "brief": one.brief(), "rate": f"{rate.bad}/{rate.n}" if rate and several else ""}
    return found


def _gravity(cell: Cell) -> tuple[bool, int]:
    return cell["within_guarantees"] is False, ["not applicable", "pass", "unknown", "fail"].index(cell["outcome"])


def _versions(told: Iterable[_Told]) -> list[tuple[str, str]]:
    """Of everything that took part; several where runs were made with several."""
    found: dict[str, dict[str, None]] = {}
    for one in told:
        for name, version in one.plan.get("versions", {}).items():
            found.setdefault(name, {})[str(version)] = None
    return [(name, " and ".join(versions)) for name, versions in found.items()]


def _grounds(told: Sequence[_Told]) -> list[Numbers]:
    """What a scenario's verdicts rest on: its profile, and what had to happen for them to mean anything."""
    grounds: dict[tuple[str, int], Numbers] = {}
    for one in told:
        if one.picture is None:
            continue
        cell = one.cell
        ground = grounds.setdefault(
            (cell["scenario"], cell["seed"]),
            {
                "name": f"{cell['scenario']} seed {cell['seed']}",
                "plan_hash": one.plan.get("plan_hash", ""),
                "profile": [(name, _plain(value)) for name, value in one.plan["profile"].items() if value is not None],
                "vacuity": [],
            },
        )
        ground["vacuity"] += [{"design": cell["design"], **need} for need in one.picture.results["vacuity"]]
    return list(grounds.values())


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _benchmarks(stored: Mapping[str, Any]) -> Numbers:
    """Medians by group, from what ``pytest benchmarks/ --benchmark-json FILE`` wrote."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for bench in stored["benchmarks"]:
        groups.setdefault(bench["group"] or bench["name"].partition("[")[0], []).append(
            (bench["name"], bench["stats"]["median"])
        )
    cpu = stored.get("machine_info", {}).get("cpu", {})
    return {
        "conditions": f"{cpu.get('count', '?')} cores, {cpu.get('brand_raw', 'processor unknown')}, "
        f"{stored.get('datetime', '')[:10]}; compare within one group only",
        "groups": [{"name": name, "bars": list(_bars(found))} for name, found in groups.items()],
    }


def _bars(found: Sequence[tuple[str, float]]) -> Iterable[Numbers]:
    least, most = min(median for _, median in found), max(median for _, median in found)
    for name, median in found:
        yield {
            "name": name,
            "median": f"{median * 1000:.2f} ms",
            "ratio": f"{median / least:.1f}" if least else "-",
            "width": round(240 * median / most, 1) if most else 0,
        }


def _inert(data: object) -> Markup:
    """JSON that no parser of HTML takes for markup."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - nothing in it can end the element now
