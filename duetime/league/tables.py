"""The tables of docs/league.md, and the mechanism of each failing cell under them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil, floor
from pathlib import Path
from textwrap import fill
from typing import Any

from duetime.checker import VIOLATIONS
from duetime.contenders import PREFIX
from duetime.harness.plan import catalogue
from duetime.harness.plan.scenario import Scenario
from duetime.harness.runs.cell import Cell
from duetime.league.matrix import Judged, Place, described_tree, is_committed, table_name
from duetime.league.records import CELL, COMMON, MEASURED
from duetime.league.sources import checker_sources, sources_of
from duetime.league.why import Explanations, Reason, kinds
from duetime.report.contender_mechanisms import DEFAULT_VARIANT, PARTS_OF_MISSED

GROUPS = {
    "Workers": (*catalogue.DEFAULT, *catalogue.WORKERS),
    "Servers and clients": catalogue.SERVICES,
    "Time": catalogue.CLOCKS,
    "Load": catalogue.LOAD,
    "The gateway": catalogue.GATEWAY,
    "Use cases": catalogue.USE_CASES,
}
OTHERS = "Only if named"
"""The group of all other scenarios."""


def summary(cells: Sequence[Cell]) -> str:
    """Return what the seeds of one cell found: ``pass``, ``late 3-5`` or ``2 of 3: late 3-5``."""
    judged = [cell for cell in cells if cell.outcome in ("pass", "fail")]
    failing = [kinds(cell) for cell in judged if cell.outcome == "fail"]
    unknown = sum(cell.outcome == "unknown" for cell in cells)
    if not judged:
        return "unknown" if unknown else "n/a"
    text = ", ".join(f"{kind} {_range(failing, kind)}{how_long(kind, judged)}" for kind in _order(failing)) or "pass"
    if failing and len(failing) < len(judged):
        text = f"{len(failing)} of {len(judged)}: {text}"
    if any(cell.within_guarantees is False for cell in judged):
        text = f"**{text}**"
    return f"{text}; {unknown} unknown" if unknown else text


def how_long(kind: str, cells: Sequence[Cell]) -> str:
    """Return how late the latest was, or how long one was still stuck when its run was closed; empty if unknown."""
    longest_s = max((cell.longest_s.get(kind, 0.0) for cell in cells), default=0.0)
    if longest_s and kind == "late":
        return f" (≤ {ceil(longest_s)} s)"
    return f" (≥ {floor(longest_s)} s)" if longest_s >= 1 else ""


def _order(failing: Iterable[Mapping[str, int]]) -> list[str]:
    present = {kind for found in failing for kind in found}
    return [kind for kind in (*PARTS_OF_MISSED, *VIOLATIONS) if kind in present]


def _range(failing: Iterable[Mapping[str, int]], kind: str) -> str:
    counts = [found.get(kind, 0) for found in failing]
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low}-{high}"


def tables(judged: Judged, explanations: Explanations, reasons: dict[str, int]) -> Iterator[str]:
    """Yield a table of verdicts for each group of scenarios.

    explanations, reasons: collect why cells fail, and why runs are not applicable.
    """
    cells: dict[tuple[str, str], list[tuple[Place, Cell]]] = {}
    for place, cell in judged:
        cells.setdefault((place.design.name, place.scenario.name), []).append((place, cell))
    names = list(dict.fromkeys(place.design.name for place in sorted((place for place, _ in judged), key=by_name)))
    present = {place.scenario.name for place, _ in judged}
    for group, members in {**GROUPS, OTHERS: _others()}.items():
        scenarios = [scenario.name for scenario in members if scenario.name in present]
        if not scenarios:
            continue
        yield f"### {group}\n"
        yield f"| | {' | '.join(f'`{name}`' for name in scenarios)} |"
        yield "|---" * (len(scenarios) + 1) + "|"
        for design in names:
            row = [_cell(cells.get((design, scenario), []), explanations, reasons) for scenario in scenarios]
            yield f"| {_heading(design)} | {' | '.join(row)} |"
        yield ""


def by_name(place: Place) -> tuple[str, bool, str]:
    """Sorts by entrants, and each one's defaults first."""
    return place.entrant, place.variant != DEFAULT_VARIANT, place.variant


def _others() -> list[Scenario]:
    grouped = {scenario.name for members in GROUPS.values() for scenario in members}
    return [scenario for scenario in catalogue.ALL if scenario.name not in grouped]


def row_name(design: str) -> str:
    """Return the name of a design with its variant as code, as Markdown."""
    name, _, variant = table_name(design).partition(":")
    return f"{name} `:{variant}`" if variant else name


def _heading(design: str) -> str:
    return row_name(design) if ":" in table_name(design) else f"**{row_name(design)}**"


def _cell(found: Judged, explanations: Explanations, reasons: dict[str, int]) -> str:
    if not found:
        return "not run"
    cells = [cell for _, cell in found]
    text = summary(cells)
    if text == "n/a":
        number = reasons.setdefault(cells[0].explanation, len(reasons) + 1)
        return f"n/a<sup>{_letter(number)}</sup>"
    numbers = explanations.of(found)
    return f"{text} <sup>{', '.join(map(str, numbers))}</sup>" if numbers else text


def _letter(number: int) -> str:
    """Return ``a`` for 1, ``z`` for 26, ``aa`` for 27."""
    rest, last = divmod(number - 1, 26)
    return (_letter(rest) if rest else "") + chr(ord("a") + last)


def _mechanism(reason: Reason, number: int) -> str:
    text = f"{number}. [{reason.entrant}]({reason.page}): {reason.title} {', '.join(reason.sources)}"
    return wrapped(text.rstrip(), hanging="   ")


def mechanisms(explanations: Explanations) -> list[str]:
    """Return a line for each mechanism, by its number."""
    return [_mechanism(reason, number) for reason, number in explanations.numbers.items()]


def not_judged(judged: Judged, reasons: Mapping[str, int]) -> Iterator[str]:
    """Yield why runs were not applicable, and why they are unknown."""
    for reason, number in reasons.items():
        yield wrapped(f"- n/a<sup>{_letter(number)}</sup>: {_sentence(reason)}", hanging="  ")
    yield from _unknown(judged)


def _unknown(judged: Judged) -> Iterator[str]:
    for place, cell in judged:
        if cell.outcome == "unknown":
            reason = cell.explanation.removeprefix("Unknown: ")
            text = f"- Unknown, `{place.scenario.name}` / `{place.design.name}`, seed {place.seed}: {_sentence(reason)}"
            yield wrapped(text, hanging="  ")


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def wrapped(text: str, *, hanging: str = "") -> str:
    """Return `text` in lines of at most 100 columns, like the rest of the page."""
    return fill(text, width=100, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def conditions(judged: Judged) -> str:
    """Return how the runs were made, from their own files."""
    ran = [(place, cell.run_dir) for place, cell in judged if (cell.run_dir / MEASURED).exists()]
    if not ran:
        return "Nothing was run.\n"
    measured = [json.loads((directory / MEASURED).read_text()) for _, directory in ran]
    plans = [path for _, directory in ran if (path := directory / "plan.json").exists()]
    versions = [json.loads(path.read_text())["versions"] for path in plans]
    servers = _distinct(f"PostgreSQL {each['postgresql']}, Valkey {each['broker']}" for each in versions)
    dates = _distinct(each["date"] for each in measured)
    trees = _distinct(each["tree"] for each in measured)
    sentence = (
        f"{len(ran)} runs, {_seeds(ran)}, {' and '.join(_distinct(each['cores'] for each in measured))} shared cores, "
        f"{_at_once(measured)}"
        f"{'; '.join(servers)}, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}, tree "
        f"{', '.join(trees)}"
    )
    head = described_tree()
    if (
        is_committed(head)
        and trees != [head]
        and all(
            each.get("sources") == sources_of(place.design.name) for (place, _), each in zip(ran, measured, strict=True)
        )
    ):
        sentence += f", all with the sources of {head}"
    today = checker_sources()
    earlier = sum(
        each.get("checker", today) != today
        for (_, directory), each in zip(ran, measured, strict=True)
        if (directory / CELL).exists()
    )
    if earlier:
        sentence += f"; {earlier} of them judged by the checker of their tree, because only their records are kept"
    return "\n".join([wrapped(f"{sentence}."), "", *_versions(versions), ""])


def _at_once(measured: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(each["at_once"] for each in measured if "at_once" in each)
    if not counts:
        return ""
    most = max(counts)
    fewer = ", ".join(f"{counts[few]} of them at most {few}" for few in sorted(counts, reverse=True) if few != most)
    return f"up to {most} side by side ({fewer}), " if fewer else f"up to {most} side by side, "


def _versions(versions: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Return a line for each contender, from entries such as ``rq of contender:rq``."""
    found: dict[str, set[str]] = {}
    for each in versions:
        for name, version in each.items():
            package, of, contender = name.partition(f" of {PREFIX}")
            if of and package not in COMMON:
                found.setdefault(contender, set()).add(f"{package} {version}")
    for contender, packages in sorted(found.items()):
        yield wrapped(f"- {contender}: {', '.join(sorted(packages))}", hanging="  ")


def _seeds(ran: Sequence[tuple[Place, Path]]) -> str:
    """Return which seeds ran, and in which scenarios it was fewer."""
    every = sorted({place.seed for place, _ in ran})
    by_scenario: dict[str, set[int]] = {}
    for place, _ in ran:
        by_scenario.setdefault(place.scenario.name, set()).add(place.seed)
    fewer: dict[str, list[str]] = {}
    for scenario, seeds in by_scenario.items():
        if len(seeds) < len(every):
            fewer.setdefault(", ".join(map(str, sorted(seeds))), []).append(f"`{scenario}`")
    text = f"seeds {', '.join(map(str, every))}"
    parts = [f"only {seeds} in {', '.join(names)}" for seeds, names in fewer.items()]
    return f"{text} ({'; '.join(parts)})" if parts else text


def _distinct(values: Iterable[object]) -> list[str]:
    return sorted(set(map(str, values)))


def replace_between(text: str, name: str, content: str) -> str:
    """Return `text` with `content` between the marker `name` and the next end marker.

    Raises:
        ValueError: the markers are missing.
    """
    begin, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"there is no {begin.strip()} … {end}")
    return f"{before}{begin}{content}{end}{after}"


def write_section(path: Path, name: str, content: str) -> None:
    """Replace what is between the markers of the section `name`."""
    path.write_text(replace_between(path.read_text(), name, content))
