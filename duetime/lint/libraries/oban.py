"""Oban for Python."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from duetime.lint.libraries.declaration import Found, Library, Rule, Run, Setting

PARTS = {
    "stager_interval": ("stager", "interval"),
    "lifeline_interval": ("lifeline", "interval"),
    "rescue_after": ("lifeline", "rescue_after"),
}


def read(oban: Any) -> Found | None:
    """Return the settings of an Oban. An extension that replaces a part has settings of its own."""
    if not hasattr(oban, "_lifeline"):
        return None
    found = {name: getattr(getattr(oban, f"_{part}"), f"_{key}", None) for name, (part, key) in PARTS.items()}
    return Found(values=found)


def parse(text: str) -> Found:
    """Return the settings of ``oban.toml``. What it leaves out has its default: no option and no variable sets it."""
    tables = tomllib.loads(text)
    found: dict[str, Any] = {name: _entry(tables, part, key) for name, (part, key) in PARTS.items()}
    return Found(values={**LIBRARY.defaults(), **{name: value for name, value in found.items() if value is not None}})


def _entry(tables: Mapping[str, Any], part: str, key: str) -> Any:
    table = tables.get(part)
    return table.get(key) if isinstance(table, Mapping) else None


LIBRARY = Library(
    name="oban",
    title="Oban",
    version="0.7.0",
    reads="an Oban, for instance oban:shop.jobs:oban, or its oban.toml",
    read=read,
    suffix=".toml",
    parse=parse,
    fixed="a job that a dead worker had executed, and not recorded, is executed again; only the leader rescues, and "
    "its lease of 30 s outlives it",
    settings=(
        Setting(name="stager_interval", default=1.0, unit="s"),
        Setting(name="lifeline_interval", default=60.0, unit="s"),
        Setting(name="rescue_after", default=300.0, unit="s"),
    ),
    rules=(
        Rule(
            setting="stager_interval",
            when=lambda case: 2 * case["stager_interval"] > case.limits.punctual_to,
            effect="delays",
            consequence="a job that has become due is staged in one round and fetched in the next, and a round takes "
            "{stager_interval:g} s.",
            fix="interval = 0.2 in [stager], or stager={'interval': 0.2}.",
            run=Run(design="contender:oban", scenario="late_event"),
            see="oban/queries/stage_jobs.sql:34",
        ),
        Rule(
            setting="rescue_after",
            when=lambda case: case["rescue_after"] + case["lifeline_interval"] > case.limits.lateness,
            effect="delays",
            consequence="a job that a killed worker was executing is rescued by the first check after "
            "{rescue_after:g} s, and a check comes every {lifeline_interval:g} s.",
            fix="rescue_after and interval in [lifeline], together below the tolerable lateness, but above the longest "
            "job, because one that executes for longer is rescued, too, and executed again, as a duplicate.",
            run=Run(design="contender:oban", scenario="crash_before", slow=40),
            see="oban/_lifeline.py:39",
        ),
    ),
)
