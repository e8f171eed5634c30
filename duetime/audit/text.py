"""The report in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill
from typing import Final

from duetime.audit.report import Report
from duetime.audit.times import shown, span
from duetime.checker.explain import FIXES

BAR_ROWS: Final = 24
BLOCKS: Final = " ▏▎▍▌▋▊▉█"


def lines(report: Report, *, width: int) -> Iterator[str]:
    """The conclusion first, then counts, reasons, lateness and examples."""
    yield from _wrapped(conclusion(report), width)
    yield ""
    yield from _wrapped(counts(report), width, "  ")
    yield from _wrapped(covered(report), width, "  ")
    for reason in report.unknown_because:
        yield ""
        yield from _wrapped(f"unknown because {reason}", width)
    yield from _lateness(report, width)
    for kind, examples in report.examples().items():
        yield ""
        title = heading(report, kind)
        yield from _wrapped(title, width)
        for one in examples:
            revision = "" if one.revision is None else f" revision {one.revision}"
            yield from _wrapped(f"{one.key}{revision}: {one.explanation} ({', '.join(one.evidence)})", width, "  ")
        if kind in FIXES:
            yield from _wrapped(FIXES[kind], width, "  ")


def conclusion(report: Report) -> str:
    """One sentence: what production did."""
    broken = [
        f"{number:,} {name} of {report.denominator(name)}" for name, number in report.violations.items() if number
    ]
    if broken:
        return f"fail: {', '.join(broken)}"
    if report.outcome == "unknown":
        return "unknown: no violation is proven, and the data does not show that there is none"
    tally = report.tally
    return f"pass: {tally.owed_delivered:,} of {tally.owed:,} owed were delivered, and none against a rule"


def counts(report: Report) -> str:
    """How many promises were owed, and what became of the others."""
    tally = report.tally
    rest = {
        "not proven": tally.counts["indeterminate"],
        "none due": tally.counts["none_due"],
        "open": tally.counts["open"],
    }
    parts = [
        f"{tally.promises:,} promised",
        f"owed {tally.owed:,}",
        f"delivered {tally.owed_delivered:,}",
        f"missed {report.violations['missed']:,}",
        *(f"{name} {number:,}" for name, number in rest.items() if number),
    ]
    lawful = ("on_time", "excused", "zombie", "recovered")
    came = [f"{name.replace('_', ' ')} {tally.counts[name]:,}" for name in lawful if tally.counts[name]]
    return f"{' · '.join(parts)}; {tally.deliveries:,} deliveries{': ' if came else ''}{', '.join(came)}"


def covered(report: Report) -> str:
    """What the counts rest on."""
    terms, zone = report.terms, report.zone
    assumed = f" Assumed: {'; '.join(report.statements())}." if terms.assumed else ""
    bad = report.promised.bad + report.delivered.bad
    skipped = f" Skipped {bad:,} bad rows." if bad else ""
    return (
        f"Deliveries are in the data from {shown(report.from_ns, zone)} to {shown(report.to_ns, zone)}. Late is more "
        f"than {span(terms.lateness_limit_ns)}, early more than {span(terms.early_tolerance_ns)}, in flight "
        f"{span(terms.in_flight_ns)}, clock tolerance {span(terms.clock_tolerance_ns)}, outages "
        f"{len(terms.outages)}.{assumed}{skipped}"
    )


def heading(report: Report, kind: str) -> str:
    """The title of the examples of one kind."""
    if kind in report.violations:
        return f"{kind}: {report.violations[kind]:,} of {report.denominator(kind)}, the earliest:"
    what, _, reason = kind.partition(" ")
    return f"unknown ({reason}): {report.tally.unknown[kind]:,} {what}, the earliest:"


def _lateness(report: Report, width: int) -> Iterator[str]:
    """A bar for each hour, or for several: the 99th percentile of lateness, as a length of time from zero."""
    bars = report.bars(BAR_ROWS)
    if not bars:
        return
    values = [bar.lateness.percentiles()["p99"] or 0.0 for bar in bars]
    room, top = max(10, min(40, width - 52)), max(values) or 1.0
    total = report.tally.lateness.percentiles()
    shares = ", ".join(f"{name} {seconds(value)}" for name, value in total.items())
    yield ""
    yield from _wrapped(
        f"Lateness: {shares}. By {bar_length(bars[0].hours)} of the due time, the 99th percentile:", width
    )
    for bar, value in zip(bars, values, strict=True):
        late = f"{span(int(value * 1e9))} of {bar.lateness.number:,}" if bar.lateness.number else "none"
        missed = f", {bar.missed:,} missed" if bar.missed else ""
        yield f"  {shown(bar.start_ns, report.zone)[:16]}  {_drawn(value / top, room)} {late}{missed}"


def seconds(value: float | None) -> str:
    """A lateness in words; a dash if nothing was delivered."""
    return "-" if value is None else span(int(value * 1e9))


def bar_length(hours: int) -> str:
    if hours in (1, 24):
        return "hour" if hours == 1 else "day"
    return f"{hours} hours" if hours % 24 else f"{hours // 24} days"


def _drawn(share: float, room: int) -> str:
    eighths = round(share * room * 8)
    return ("█" * (eighths // 8) + BLOCKS[eighths % 8].strip()).ljust(room)


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return fill(
        text, width, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False
    ).splitlines()
