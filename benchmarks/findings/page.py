"""The matrix as Markdown: one row for a scenario, one column for a design."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.findings.age import Stamp
from duetime.checker import VIOLATIONS
from duetime.harness.plan import catalogue
from duetime.harness.runs.cell import Cell
from duetime.league.matrix import Judged
from duetime.league.tables import conditions, wrapped


def cell_text(cells: Sequence[Cell]) -> str:
    """Return ``pass``, ``**missed**`` if every judged run failed, or ``1/3: missed`` if only some did."""
    judged = [cell for cell in cells if cell.outcome in ("pass", "fail")]
    failing = [cell for cell in judged if cell.outcome == "fail"]
    unknown = sum(cell.outcome == "unknown" for cell in cells)
    if not cells:
        return "not run"
    if not judged:
        return "unknown" if unknown else "n/a"
    text = ", ".join(label for label in VIOLATIONS if any(cell.violations.get(label) for cell in failing)) or "pass"
    if failing:
        text = f"**{text}**" if len(failing) == len(judged) else f"{len(failing)}/{len(judged)}: {text}"
    return f"{text} ({unknown} unknown)" if unknown else text


def matrix(judged: Judged, stamp: Stamp) -> str:
    """Return everything between the markers."""
    designs = list(dict.fromkeys(place.design.name for place, _ in judged))
    scenarios = list(dict.fromkeys(place.scenario.name for place, _ in judged))
    found: dict[tuple[str, str], list[Cell]] = {}
    for place, cell in judged:
        found.setdefault((place.scenario.name, place.design.name), []).append(cell)
    return "\n".join(
        [
            str(stamp),
            "",
            f"| scenario | {' | '.join(_heading(name, designs) for name in designs)} |",
            "|---" * (len(designs) + 1) + "|",
            *(
                f"| `{scenario}` | {' | '.join(cell_text(found.get((scenario, name), [])) for name in designs)} |"
                for scenario in scenarios
            ),
            "",
            conditions(judged).rstrip(),
            "",
            *_remark(judged, len(scenarios)),
            *_not_judged(judged),
            "",
            "",
        ]
    )


def _heading(name: str, designs: Sequence[str]) -> str:
    """Return a variant without its package where the column of the package is on its left."""
    package, colon, variant = name.partition(":")
    return f"`:{variant}`" if colon and package in designs else f"`{name}`"


def _remark(judged: Judged, scenarios: int) -> Iterator[str]:
    """Yield how many scenarios are not in the table, if it is the one of a full comparison."""
    if any(place.scenario.name == catalogue.FULL[0].name for place, _ in judged):
        yield wrapped(
            f"These are {scenarios} of the {len(catalogue.ALL)} scenarios; "
            f"{len(catalogue.ALL) - len(catalogue.FULL)} run only if they are named."
        )


def _not_judged(judged: Judged) -> Iterator[str]:
    """Yield a line for each reason why runs were not judged, with the cells that it concerns."""
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for place, cell in judged:
        if cell.outcome not in ("pass", "fail"):
            seed = f", seed {place.seed}" if cell.outcome == "unknown" else ""
            cells = reasons.setdefault((cell.outcome, cell.explanation.removeprefix("Unknown: ")), {})
            cells[f"`{place.scenario.name}` / `{place.design.name}`{seed}"] = None
    if reasons:
        yield ""
    for (outcome, reason), cells in reasons.items():
        word = "n/a" if outcome == "not applicable" else outcome
        yield wrapped(f"- {word}: {', '.join(cells)}: {reason.rstrip('.')}.", hanging="  ")
