"""One run as a static SVG, for documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from duetime.checker import VIOLATIONS

WIDTH, LEFT, RIGHT, TOP, ROW = 860, 12, 12, 46, 9
AT_MOST = 60
"""Notifications drawn; of more, up to two thirds are those with violations, and the rest is every n-th."""
COLOURS = {
    "delivered": "#0072b2",
    **dict(zip(VIOLATIONS, ("#c64a00", "#b0447f", "#e69ac4", "#7b3294", "#007a5a", "#1f7fb5", "#a86f00"), strict=True)),
}
LEGEND = {
    "duplicate": "delivered again",
    "will_repeat": "will repeat",
    "phantom": "after a cancel",
    "stale": "old revision",
}

TEMPLATES = Environment(
    loader=PackageLoader("duetime.report", "assets"), autoescape=select_autoescape(["j2"]), trim_blocks=True
)


def strip(lane: Mapping[str, Any]) -> str:
    """Draw `lane`: for each notification a line from schedule() to its due time, and its deliveries."""
    rows = sorted(_rows(lane), key=lambda row: (row["due"], row["key"]))
    if len(rows) > AT_MOST:
        violating = [row for row in rows if row["violating"]][: AT_MOST * 2 // 3]
        others = [row for row in rows if not row["violating"]]
        step = max(1, -(-len(others) // (AT_MOST - len(violating))))
        rows = sorted([*violating, *others[::step]], key=lambda row: (row["due"], row["key"]))
    ends = float(lane["ends"])
    used = [label for label in COLOURS if any(label == mark["label"] for row in rows for mark in row["marks"])]
    return TEMPLATES.get_template("strip.svg.j2").render(
        rows=[{**row, "y": TOP + ROW * number + ROW / 2} for number, row in enumerate(rows)],
        faults=[{**fault, "to": ends if fault["to"] is None else fault["to"]} for fault in lane["faults"]],
        colours=COLOURS,
        design=lane["design"],
        outcome=lane["outcome"],
        ends=ends,
        seconds=range(0, int(ends) + 1, 5 if ends > 12 else 1),
        legend=[
            {"colour": COLOURS[label], "text": LEGEND.get(label, label), "x": LEFT + 130 * number}
            for number, label in enumerate(used)
        ],
        scale=(WIDTH - LEFT - RIGHT) / ends,
        left=LEFT,
        top=TOP,
        width=WIDTH,
        height=TOP + ROW * len(rows) + 40,
    )


def _rows(lane: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    rows = []
    for note in lane["notes"]:
        marks, due, invoked = [], None, None
        for revision in note["revs"]:
            if revision.get("due") is not None:
                due = revision["due"]
                invoked = revision["invoked"] if invoked is None else invoked
            if revision.get("state") == "missed":
                marks.append({"at": revision["deadline"], "label": "missed"})
            if revision.get("state") == "will_repeat":
                marks.append({"at": lane["ends"], "label": "will_repeat"})
            for at, _worker, _attempt, label in revision.get("deliveries", ()):
                marks.append({"at": at, "label": label if label in VIOLATIONS else "delivered"})
        if due is not None:
            violating = any(mark["label"] != "delivered" for mark in marks)
            row = {"key": note["key"], "due": due, "invoked": invoked or 0.0, "marks": marks, "violating": violating}
            rows.append(row)
    return rows
