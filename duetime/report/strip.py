"""One run as a static SVG, for documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from duetime.checker import VIOLATIONS

WIDTH, MARGIN, ROW, LINE = 860, 12, 9, 18
AT_MOST = 60
"""Notifications drawn; of more, up to two thirds are those with violations, and the rest is every n-th."""
CHARACTER = 7.2
"""The width of a character at 12 pixels, rounded up: the reader's font is not known here."""

CIRCLE, DIAMOND, SQUARE = "M3 0a3 3 0 1 1 -6 0a3 3 0 1 1 6 0z", "M0 -4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z", "M-3 -3h6v6h-6z"
BLUE, PURPLE, GREEN, PINK, GREY = "#0072b2", "#7b3294", "#007a5a", "#b0447f", "#59626e"
FILLED, OPEN = "filled", "open"
MARKS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    "on_time": (CIRCLE, FILLED, BLUE, "delivered"),
    "excused": (CIRCLE, OPEN, BLUE, "late, excused by the fault"),
    "zombie": ("M-3.5 -3h7l-3.5 6z", OPEN, BLUE, "soon after a cancel or move: allowed"),
    "missed": ("M-3 -3l6 6m0 -6l-6 6", OPEN, "#c64a00", "missed, at its deadline"),
    "duplicate": (DIAMOND, FILLED, PINK, "delivered again"),
    "will_repeat": (DIAMOND, OPEN, PINK, "will be delivered again"),
    "phantom": (SQUARE, FILLED, PURPLE, "delivered after its cancel"),
    "stale": (SQUARE, OPEN, GREEN, "old revision delivered"),
    "early": ("M3 -3.5l-6.5 3.5l6.5 3.5z", FILLED, "#1f7fb5", "early"),
    "late": ("M-3 -3.5l6.5 3.5l-6.5 3.5z", FILLED, "#a86f00", "late"),
    "cancelled": ("M-4 0h4m0 -4v8", OPEN, GREY, "cancelled"),
}
"""By label, in the order of the legend: path, style, colour and words of a mark. No two marks look the same."""

TEMPLATES = Environment(
    loader=PackageLoader("duetime.report", "assets"), autoescape=select_autoescape(["j2"]), trim_blocks=True
)


def strip(lane: Mapping[str, Any]) -> str:
    """Draw `lane`: for each notification a line from schedule() to its due time, and its deliveries."""
    faults = [{name: fault[name] for name in ("title", "colour", "from", "to")} for fault in lane["faults"]]
    return draw({**{name: lane[name] for name in ("design", "outcome", "ends")}, "faults": faults, "rows": _rows(lane)})


def draw(data: Mapping[str, Any]) -> str:
    """Draw what `strip` has selected. The picture contains `data`, so that it can be drawn again without the run."""
    ends = float(data["ends"])
    scale = (WIDTH - 2 * MARGIN) / ends
    used = [label for label in MARKS if any(label == mark[1] for row in data["rows"] for mark in row["marks"])]
    legend, lines = _legend(used)
    faults, bands = _faults(data["faults"], ends, scale)
    top = 30 + lines * LINE + bands * LINE
    bottom = top + ROW * len(data["rows"]) + 6
    return TEMPLATES.get_template("strip.svg.j2").render(
        data=Markup(escape(json.dumps(data, ensure_ascii=False, separators=(",", ":")))),  # noqa: S704 - escaped here
        design=data["design"],
        outcome=data["outcome"],
        marks={label: MARKS[label] for label in used},
        legend=legend,
        faults=faults,
        rows=[_row(row, top + 3 + ROW * number + ROW / 2, scale) for number, row in enumerate(data["rows"])],
        ticks=[(round(MARGIN + at * scale, 1), at) for at in range(0, int(ends) + 1, 5 if ends > 12 else 1)],
        width=WIDTH,
        top=top,
        bottom=bottom,
    )


def _legend(used: Sequence[str]) -> tuple[list[dict[str, Any]], int]:
    """The entries with their positions, and the number of lines."""
    entries, x, line = [], float(MARGIN), 0
    for label, words in [("line", "from schedule() until due"), *((label, MARKS[label][3]) for label in used)]:
        width = 18 + len(words) * CHARACTER + 16
        if x + width > WIDTH and x > MARGIN:
            x, line = float(MARGIN), line + 1
        entries.append({"label": label, "words": words, "x": round(x, 1), "y": 34 + line * LINE})
        x += width
    return entries, line + 1


def _faults(faults: Sequence[Mapping[str, Any]], ends: float, scale: float) -> tuple[list[dict[str, Any]], int]:
    """The faults with the positions of their names, of which no two overlap, and the number of lines of names."""
    placed: list[dict[str, Any]] = []
    used_until: list[float] = []
    for fault in sorted(faults, key=lambda fault: float(fault["from"])):
        left, right = (MARGIN + at * scale for at in (fault["from"], ends if fault["to"] is None else fault["to"]))
        width = len(fault["title"]) * CHARACTER
        words_at = max(float(MARGIN), min(left, WIDTH - MARGIN - width))
        line = next((n for n, until in enumerate(used_until) if until <= words_at), len(used_until))
        used_until[line:] = [words_at + width + CHARACTER, *used_until[line + 1 :]]
        box = {"x": round(left, 1), "width": round(max(right - left, 2.0), 1)}
        placed.append({**fault, **box, "words_at": round(words_at, 1), "line": line})
    return placed, len(used_until)


def _row(row: Mapping[str, Any], y: float, scale: float) -> dict[str, Any]:
    """The row in pixels. A mark that would hide the one before it is shifted to the right."""
    marks: list[tuple[float, str]] = []
    for at, label in sorted(row["marks"], key=lambda mark: float(mark[0])):
        x = MARGIN + at * scale
        shifted = max(x, marks[-1][0] + 7) if marks else x
        marks.append((round(min(shifted, WIDTH - 5), 1), label))
    begin, end = (round(MARGIN + row[name] * scale, 1) for name in ("from", "to"))
    return {"y": y, "from": begin, "to": end, "due": row["due"], "marks": marks}


def _rows(lane: Mapping[str, Any]) -> list[dict[str, Any]]:
    """From the keys of `lane`, those that are drawn, by due time."""
    rows = sorted(_all_rows(lane), key=lambda row: (row["to"], row["key"]))
    if len(rows) > AT_MOST:
        violating = [row for row in rows if _violates(row)][: AT_MOST * 2 // 3]
        others = [row for row in rows if not _violates(row)]
        step = max(1, -(-len(others) // (AT_MOST - len(violating))))
        rows = sorted([*violating, *others[::step]], key=lambda row: (row["to"], row["key"]))
    return rows


def _violates(row: Mapping[str, Any]) -> bool:
    return any(label in VIOLATIONS for _, label in row["marks"])


def _all_rows(lane: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for note in lane["notes"]:
        schedules = [revision for revision in note["revs"] if revision.get("due") is not None]
        if not schedules:
            continue
        marks = [mark for revision in note["revs"] for mark in _marks(revision, float(lane["ends"]))]
        due, last = schedules[-1]["due"], note["revs"][-1]
        ended = last["answered"] if last.get("due") is None and last.get("answer") == "ok" else None
        if ended is not None:
            marks.append([ended, "cancelled"])
        yield {
            "key": note["key"],
            "from": schedules[0]["invoked"],
            "to": due if ended is None else min(due, ended),
            "due": ended is None or ended > due,
            "marks": marks,
        }


def _marks(revision: Mapping[str, Any], ends: float) -> Iterator[list[Any]]:
    """Time and label of each mark."""
    if revision.get("state") == "missed":
        yield [ends if revision["deadline"] is None else revision["deadline"], "missed"]
    if revision.get("state") == "will_repeat":
        yield [ends, "will_repeat"]
    for at, _worker, _attempt, label in revision.get("deliveries", ()):
        yield [at, label if label in MARKS else "on_time"]
