"""What the workers logged: lines about violations, and exceptions."""

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
LINES_PER_VIOLATION = 8
WIDTH = 240
VIOLATIONS_WITH_LOGS = 500
"""Only the first violations of a run get log lines, to keep the page small."""
STAMP = re.compile(r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3})")
"""How Celery begins a line, in local time."""


TRACEBACK = "Traceback (most recent call last):"
LAST_LINE = re.compile(r"^[A-Za-z_][\w.]*(?:: .*)?$")
"""The end of a traceback, whose other lines are indented: the name of a class, and a message."""


@dataclass(frozen=True, slots=True)
class Exceptions:
    """What one worker logged of exceptions: how many tracebacks, the last line of the first, and in which file."""

    worker: str
    number: int
    first: str
    path: Path

    def __str__(self) -> str:
        several = "an exception" if self.number == 1 else f"{self.number} exceptions, first"
        return f"{self.worker} logged {several}: {self.first} ({self.path})"


def exceptions(run_dir: Path) -> list[Exceptions]:
    """The exceptions in the logs of a run's workers, a worker each, in the order of their names."""
    found = []
    for path in sorted((run_dir / "logs").glob("worker*.log")):
        lines = path.read_text(errors="replace").splitlines()
        starts = [number for number, line in enumerate(lines) if TRACEBACK in line]
        # One that was raised while another was handled is a traceback of its own, and the last says what was logged.
        number = sum(not _continues(lines, start) for start in starts)
        if number:
            ends = (match[0] for line in lines[starts[0] + 1 :] if (match := LAST_LINE.match(line)))
            found.append(Exceptions(path.stem, number, next(ends, "a traceback without an end")[:WIDTH], path))
    return found


def _continues(lines: Sequence[str], start: int) -> bool:
    before = " ".join(lines[max(0, start - 2) : start])
    return "the above exception" in before.lower() or "another exception occurred" in before


@dataclass(frozen=True, slots=True)
class Line:
    at_ns: int
    text: str


def log_lines(run_dir: Path, history: History, results: Results) -> Mapping[str, Sequence[str]]:
    """By op of a violation: the lines that contain its key, or else the lines around its ready time and violation."""
    if not history.clock:
        return {}
    wall_ns, mono_ns = history.clock[0]
    lines = _read(run_dir / "logs", mono_ns - wall_ns)
    instants = [line.at_ns for line in lines]
    found = {}
    for violation in results.violations[:VIOLATIONS_WITH_LOGS]:
        key = violation.op.rpartition("/")[0]
        obligation = results.obligations.get(violation.op)
        moments = {violation.at_ns, obligation.ready_ns if obligation else violation.at_ns}
        near = {
            number
            for moment in moments
            for number in range(bisect_left(instants, moment - AROUND_NS), bisect_right(instants, moment + AROUND_NS))
        }
        with_key = [number for number, line in enumerate(lines) if key in line.text]
        chosen = sorted((with_key or sorted(near))[:LINES_PER_VIOLATION])
        found[violation.op] = [lines[number].text for number in chosen]
    return found


def _read(directory: Path, mono_minus_wall_ns: int) -> list[Line]:
    """Every log line that has a time, in the order of time."""
    lines = []
    for path in sorted(directory.glob("*.log")) if directory.is_dir() else ():
        for text in path.read_text(errors="replace").splitlines():
            stamp = STAMP.match(text)
            if stamp:
                at = datetime.strptime(stamp[1], "%Y-%m-%d %H:%M:%S,%f").astimezone()
                at_ns = int(at.timestamp() * 1e9) + mono_minus_wall_ns
                lines.append(Line(at_ns, f"{path.stem}: {text[:WIDTH]}"))
    return sorted(lines, key=lambda line: line.at_ns)
