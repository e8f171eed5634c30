"""The part of a stored run that the report shows."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duetime.checker import Results, judge_history
from duetime.errors import NotARun
from duetime.history import History, load
from duetime.report.lane import lane
from duetime.report.logs import log_lines

DRAWN = 10_000
"""The most notifications of a run that are all drawn; of more, a sample of two thousand is drawn."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One run for the page, small whatever the size of the run.

    plan, results: the quoted parts. lane: gzip in base64, because a page may hold two hundred runs.
    """

    plan: Mapping[str, Any]
    results: Mapping[str, Any]
    lane: str


def picture(run_dir: Path, history: History, results: Results) -> Picture:
    """The picture of `run_dir`, whose `history` is loaded and judged already."""
    plan = json.loads((run_dir / "plan.json").read_bytes())
    drawn = lane(history, results, logs=log_lines(run_dir, history, results), at_most=DRAWN)
    text = json.dumps(drawn, ensure_ascii=False, separators=(",", ":"))
    return Picture(
        {name: plan[name] for name in ("loaded_as", "versions", "plan_hash", "profile") if name in plan},
        {"vacuity": results.to_json()["vacuity"]},
        base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    )


def load_picture(run_dir: Path) -> Picture | None:
    """The picture of a stored run; None if it cannot be read."""
    try:
        history = load(run_dir)
    except NotARun:
        return None
    return picture(run_dir, history, judge_history(history))
