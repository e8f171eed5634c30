"""The league as one self-contained HTML page. It uses no network; its script filters what is in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from duetime.checker import VIOLATIONS
from duetime.harness.runs.cell import Cell
from duetime.league.about import About
from duetime.league.claims import verdict
from duetime.league.document import DELIVERY, back_after, cancel_of
from duetime.league.facts import Facts
from duetime.league.matrix import Judged, Place, table_name
from duetime.league.needs import NEEDS, answer
from duetime.league.tables import GROUPS, OTHERS, by_name, conditions, how_long
from duetime.league.why import Explanations, Reason, kinds
from duetime.pages import DOCS, FILES
from duetime.report.contender_mechanisms import DEFAULT_VARIANT, PARTS_OF_MISSED
from duetime.report.rates import Rate
from duetime.shell_command import shell_command

MARKDOWN_LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")


def write_page(path: Path, judged: Judged, explanations: Explanations, about: About) -> None:
    """Write the page completely or not at all.

    Raises:
        OSError: it cannot be written.
    """
    draft = path.with_name(f"{path.name}.draft")
    try:
        draft.write_text(page(judged, explanations, about), encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def page(judged: Judged, explanations: Explanations, about: About) -> str:
    """The page as HTML."""
    judged = sorted(judged, key=lambda item: by_name(item[0]))
    templates = Environment(
        loader=ChoiceLoader([PackageLoader("duetime.league", "assets"), PackageLoader("duetime.report", "assets")]),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    templates.filters["name"] = table_name
    sentence, _, versions = conditions(judged).partition("\n\n")
    return templates.get_template("league.html.j2").render(
        conditions=" ".join(sentence.split()),
        versions=[" ".join(line.split()) for line in versions.strip().removeprefix("- ").split("\n- ")],
        needs=[answer(need, judged, about.facts) for need in NEEDS],
        objections=[(one.entrant, one.title.replace("`", ""), _address(one.page)) for one in about.objections],
        claims=[{"claim": claim, "verdict": verdict(claim, judged).replace("`", "")} for claim in about.claims],
        speeds=about.speeds,
        # Markup: files of this package, which must not be escaped.
        styles=Markup("\n".join(_source(templates, name) for name in ("common.css", "league.css"))),  # noqa: S704
        script=Markup(_source(templates, "league.js")),  # noqa: S704
        data=Markup(json.dumps(data(judged, explanations, about.facts)).replace("<", "\\u003c")),  # noqa: S704
        count=len({place.entrant for place, _ in judged}),
    )


def data(judged: Judged, explanations: Explanations, facts: Mapping[str, Facts]) -> Mapping[str, Any]:
    """What the script shows: the scenarios, the reasons, and each design with its cells."""
    cells: dict[tuple[str, str], list[tuple[Place, Cell]]] = {}
    for place, cell in judged:
        cells.setdefault((place.design.name, place.scenario.name), []).append((place, cell))
    designs = {place.design.name: place for place, _ in judged}
    present = {place.scenario.name: place.scenario for place, _ in judged}
    groups = {name: [each.name for each in members if each.name in present] for name, members in GROUPS.items()}
    groups[OTHERS] = [name for name in present if not any(name in members for members in groups.values())]
    rows = [
        {
            **_row(place, facts[name]),
            "lateness": _quiet_lateness(cells.get((name, "calm"), [])),
            "cells": {
                scenario: _cell(found, explanations) for scenario in present if (found := cells.get((name, scenario)))
            },
        }
        for name, place in designs.items()
    ]
    return {
        "groups": {name: members for name, members in groups.items() if members},
        "scenarios": {name: scenario.what for name, scenario in present.items()},
        "kinds": VIOLATIONS,
        "parts": PARTS_OF_MISSED,
        "reasons": [_reason(reason) for reason in explanations.numbers],
        "rows": rows,
    }


def _row(place: Place, facts: Facts) -> Mapping[str, Any]:
    stated = place.design.guarantees
    return {
        "design": table_name(place.design.name),
        "entrant": place.entrant,
        "variant": "" if place.variant == DEFAULT_VARIANT else place.variant,
        "title": facts.title,
        "home": facts.home,
        "summary": place.design.summary,
        "store": facts.store,
        "worker": facts.worker,
        "callers": facts.callers,
        "delivers": DELIVERY[stated.delivery],
        "transactional": stated.transactional,
        "cancel": cancel_of(stated),
        "reschedule": facts.reschedule,
        "unique": facts.unique_key,
        "back": back_after(stated),
    }


def _cell(found: Judged, explanations: Explanations) -> Mapping[str, Any]:
    place, first = found[0]
    judged = [cell for _, cell in found if cell.outcome in ("pass", "fail")]
    failing = sum(cell.outcome == "fail" for cell in judged)
    unknown = sum(cell.outcome == "unknown" for _, cell in found)
    rate = Rate(place.scenario.name, place.design.name, failing, len(judged), unknown)
    return {
        "failing": failing,
        "judged": len(judged),
        "unknown": unknown,
        "rate": str(rate) if judged else "",
        "broken": any(cell.within_guarantees is False for cell in judged),
        "not_applicable": first.explanation if first.outcome == "not applicable" else "",
        "why": [number - 1 for number in explanations.of(found)],
        "runs": [_run(place, cell) for place, cell in found if cell.outcome != "not applicable"],
    }


def _run(place: Place, cell: Cell) -> Mapping[str, Any]:
    return {
        "seed": place.seed,
        "outcome": cell.outcome,
        "kinds": kinds(cell),
        "long": {kind: text for kind in kinds(cell) if (text := how_long(kind, [cell]))},
        "story": cell.explanation,
        "command": shell_command("run", place.design.name, place.scenario.name, "--seed", str(place.seed)),
    }


def _quiet_lateness(calm: Judged) -> Mapping[str, float] | None:
    """The medians over the seeds of `calm`, in seconds: of the median lateness, and of its 99th percentile."""
    raw = [cell.lateness_s["raw"] for _, cell in calm if cell.lateness_s.get("raw")]
    found = {name: [each[name] for each in raw if each.get(name) is not None] for name in ("p50", "p99")}
    return {name: round(median(values), 3) for name, values in found.items()} if all(found.values()) else None


def _reason(reason: Reason) -> Mapping[str, Any]:
    return {"entrant": reason.entrant, "title": reason.title, "page": _address(reason.page),
            "sources": list(_links(reason.sources))}  # fmt: skip


def _links(sources: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """The text and the address of each source; a line of a library has no address."""
    for source in sources:
        link = MARKDOWN_LINK.fullmatch(source)
        yield {"text": link[1], "address": link[2]} if link else {"text": source.strip("`"), "address": ""}


def _address(page: str) -> str:
    """The address of a page that is named relative to docs/."""
    if "://" in page:
        return page
    return f"{FILES}/{page.removeprefix('../')}" if page.startswith("../") else f"{DOCS}/{page}"


def _source(templates: Environment, name: str) -> str:
    assert templates.loader  # noqa: S101 - it was given
    return templates.loader.get_source(templates, name)[0]
