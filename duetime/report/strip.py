"""One run as a still picture: an SVG that needs nothing else, for a page that is read and not opened in a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

WIDTH, LEFT, RIGHT, TOP, ROW = 860, 12, 12, 46, 9
AT_MOST = 60
"""Notifications: of more, every n-th and all with something wrong are drawn, as far as there is room."""
SHAPES = {
    "missed": ("#c64a00", "missed"),
    "duplicate": ("#b0447f", "came again"),
    "late": ("#a86f00", "late"),
    "early": ("#1f7fb5", "early"),
    "phantom": ("#7b3294", "cancelled, and came"),
    "stale": ("#007a5a", "replaced, and came"),
    "kept": ("#0072b2", "delivered"),
}

TEMPLATES = Environment(
    loader=PackageLoader("duetime.report", "assets"), autoescape=select_autoescape(["j2"]), trim_blocks=True
)


def strip(lane: Mapping[str, Any]) -> str:
    """`lane` drawn: a line from schedule() to the due time of each notification, and what came when."""
    rows = sorted(_rows(lane), key=lambda row: (row["due"], row["key"]))
    if len(rows) > AT_MOST:
        wrong = [row for row in rows if row["wrong"]][: AT_MOST * 2 // 3]
        fine = [row for row in rows if not row["wrong"]]
        step = max(1, -(-len(fine) // (AT_MOST - len(wrong))))
        rows = sorted([*wrong, *fine[::step]], key=lambda row: (row["due"], row["key"]))
    ends = float(lane["ends"])
    used = [name for name in SHAPES if any(name == mark["shape"] for row in rows for mark in row["marks"])]
    return TEMPLATES.get_template("strip.svg.j2").render(
        rows=[{**row, "y": TOP + ROW * number + ROW / 2} for number, row in enumerate(rows)],
        faults=[{**fault, "to": ends if fault["to"] is None else fault["to"]} for fault in lane["faults"]],
        colours={name: colour for name, (colour, _) in SHAPES.items()},
        design=lane["design"],
        outcome=lane["outcome"],
        ends=ends,
        seconds=range(0, int(ends) + 1, 5 if ends > 12 else 1),
        legend=[(SHAPES[name], LEFT + 130 * number) for number, name in enumerate(used)],
        scale=(WIDTH - LEFT - RIGHT) / ends,
        left=LEFT,
        top=TOP,
        width=WIDTH,
        height=TOP + ROW * len(rows) + 40,
    )


def _rows(lane: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    rows = []
    for note in lane["notes"]:
        marks, due, asked = [], None, None
        for revision in note["revs"]:
            if revision.get("due") is not None:
                due = revision["due"]
                asked = revision["asked"] if asked is None else asked
            if revision.get("state") == "missed":
                marks.append({"at": revision["deadline"], "shape": "missed"})
            for at, _worker, _attempt, label in revision.get("got", ()):
                marks.append({"at": at, "shape": label if label in SHAPES else "kept"})
        if due is not None:
            wrong = any(mark["shape"] != "kept" for mark in marks)
            rows.append({"key": note["key"], "due": due, "asked": asked or 0.0, "marks": marks, "wrong": wrong})
    return rows
