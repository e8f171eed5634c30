"""Lateness by hour, as the coordinates of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import Any, Final

from duetime.audit.report import Bar, Report
from duetime.audit.times import S_NS, shown, span

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 300, 64, 12, 34, 34
FLOOR_S: Final = 0.01
"""Below this, lateness is drawn at the foot of the picture."""
TICKS_S: Final = (0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400, 365 * 86400)
LABELS: Final = 6


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic scale of lateness. top_s: the highest lateness on it."""

    top_s: float

    def y(self, seconds: float) -> float:
        share = log10(max(FLOOR_S, seconds) / FLOOR_S) / log10(self.top_s / FLOOR_S)
        return round(HEIGHT - BOTTOM - min(1.0, share) * (HEIGHT - BOTTOM - TOP), 1)


def drawing(report: Report) -> dict[str, Any]:
    """What the template of the picture draws: for each bar its median, 99th percentile, maximum and missed."""
    bars, limit_s = report.bars(), report.terms.lateness_limit_ns / S_NS
    longest_s = max([limit_s, *(bar.lateness.percentiles()["max"] or 0.0 for bar in bars)])
    scale = Scale(max(1.0, longest_s) * 1.3)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(bars))
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "top": TOP,
        "foot": HEIGHT - BOTTOM,
        "hours": bars[0].hours if bars else 1,
        "limit": {"y": scale.y(limit_s), "text": span(report.terms.lateness_limit_ns)},
        "ticks": [{"y": scale.y(tick), "text": span(int(tick * S_NS))} for tick in TICKS_S if tick < scale.top_s],
        "bars": [_bar(bar, LEFT + step * at, step, scale, report) for at, bar in enumerate(bars)],
        "outages": _outages(report, bars, step),
        "labels": [
            {"x": round(LEFT + step * at, 1), "text": shown(bars[at].start_ns, report.zone)[5:16]}
            for at in range(0, len(bars), max(1, -(-len(bars) // LABELS)))
        ],
    }


def _bar(bar: Bar, x: float, step: float, scale: Scale, report: Report) -> dict[str, Any]:
    lateness = bar.lateness.percentiles()
    drawn: dict[str, Any] = {
        "x": round(x + step * 0.1, 2),
        "width": round(max(1.0, step * 0.8), 2),
        "missed": bar.missed,
        "text": f"{shown(bar.start_ns, report.zone)}: {bar.lateness.number:,} delivered, {bar.missed:,} missed",
    }
    if bar.lateness.number:
        drawn |= {name: scale.y(lateness[name] or 0.0) for name in ("p50", "p99", "max")}
        late = ", ".join(f"{name} {span(int((lateness[name] or 0.0) * S_NS))}" for name in ("p50", "p99", "max"))
        drawn["text"] += f"; {late}"
    return drawn


def _outages(report: Report, bars: list[Bar], step: float) -> list[dict[str, float]]:
    if not bars:
        return []
    first_ns, hours_ns = bars[0].start_ns, bars[0].hours * 3600 * S_NS
    found = []
    for start_ns, end_ns in report.terms.outages:
        x, to = (LEFT + step * (at - first_ns) / hours_ns for at in (start_ns, end_ns))
        x, to = max(LEFT, x), min(WIDTH - RIGHT, to)
        if x < to:
            found.append({"x": round(x, 1), "width": round(max(1.0, to - x), 1)})
    return found
