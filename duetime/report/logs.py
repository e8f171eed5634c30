"""What the servers of a run logged about the notifications that went wrong."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from duetime.checker import Results
from duetime.history import History

AROUND_NS = 300_000_000
LINES = 8
"""Of each anomaly; whoever wants more has the files."""
WIDTH = 240
TELLING = 500
"""Anomalies of one run whose lines are looked up: nobody reads more, and a page stays small."""
STAMP = re.compile(r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3})")
"""How Celery begins a line, in local time."""


@dataclass(frozen=True, slots=True)
class Line:
    at_ns: int
    text: str


def log_lines(run_dir: Path, history: History, results: Results) -> Mapping[str, Sequence[str]]:
    """By op of an anomaly: lines that name its key, and lines of the moment at which it should have come or came."""
    if not history.clock:
        return {}
    wall_ns, mono_ns = history.clock[0]
    lines = _read(run_dir / "logs", mono_ns - wall_ns)
    instants = [line.at_ns for line in lines]
    found = {}
    for violation in results.violations[:TELLING]:
        key = violation.op.rpartition("/")[0]
        obligation = results.obligations.get(violation.op)
        moments = {violation.at_ns, obligation.ready_ns if obligation else violation.at_ns}
        near = {
            number
            for moment in moments
            for number in range(bisect_left(instants, moment - AROUND_NS), bisect_right(instants, moment + AROUND_NS))
        }
        naming = [number for number, line in enumerate(lines) if key in line.text]
        # A log that names it tells more than whatever else was logged at the time.
        chosen = sorted((naming or sorted(near))[:LINES])
        found[violation.op] = [lines[number].text for number in chosen]
    return found


def _read(directory: Path, mono_minus_wall_ns: int) -> list[Line]:
    """Every line of the servers' logs that says when it was written, in the order of time."""
    lines = []
    for path in sorted(directory.glob("*.log")) if directory.is_dir() else ():
        for text in path.read_text(errors="replace").splitlines():
            stamp = STAMP.match(text)
            if stamp:
                at = datetime.strptime(stamp[1], "%Y-%m-%d %H:%M:%S,%f").astimezone()
                at_ns = int(at.timestamp() * 1e9) + mono_minus_wall_ns
                lines.append(Line(at_ns, f"{path.stem}: {text[:WIDTH]}"))
    return sorted(lines, key=lambda line: line.at_ns)
