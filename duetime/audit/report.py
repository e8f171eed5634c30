"""The outcome of an audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from zoneinfo import ZoneInfo

from duetime.audit.lateness import HOUR_NS, Lateness
from duetime.audit.tally import Example, Tally
from duetime.audit.terms import ASSUMPTIONS, Terms
from duetime.audit.times import shown
from duetime.audit.wording import REASONS
from duetime.checker.labels import DELIVERY_VIOLATIONS, LABELS
from duetime.checker.results import Outcome

FORMAT: Final = 1
VIOLATIONS: Final = ("missed", *(label for label in DELIVERY_VIOLATIONS))
STATES: Final = ("delivered", "missed", "none_due", "indeterminate", "open")
BARS: Final = 168
"""The most bars of the picture: a week of hours. Of a longer time, a bar is several hours."""


@dataclass(frozen=True, slots=True)
class SourceCount:
    """One source. columns: by field. bad: rows that were skipped, of which `named` names the first."""

    name: str
    columns: Mapping[str, str]
    rows: int
    bad: int
    named: Sequence[str]


@dataclass(frozen=True, slots=True)
class Bar:
    """Lateness of what was due in some hours, and how much of it was missed."""

    start_ns: int
    hours: int
    lateness: Lateness
    missed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the data proves. from_ns, to_ns: between them every delivery is in the data."""

    promised: SourceCount
    delivered: SourceCount
    terms: Terms
    zone: ZoneInfo | None
    from_ns: int
    to_ns: int
    tally: Tally

    @property
    def outcome(self) -> Outcome:
        if any(self.violations.values()):
            return "fail"
        return "unknown" if self.unknown_because else "pass"

    @property
    def violations(self) -> dict[str, int]:
        """The number of each, zeros included; none if no delivery matches any promise, which is no design's fault."""
        counts = self.tally.counts
        return {name: counts[name] if self.tally.matched else 0 for name in VIOLATIONS}

    @property
    def unknown_because(self) -> list[str]:
        """Sentences without their full stop, the most serious first."""
        return list(self._reasons())

    def _reasons(self) -> Iterator[str]:
        tally = self.tally
        if not tally.promises:
            yield "nothing was promised"
        elif not tally.deliveries:
            yield "nothing was delivered, so the audit proves nothing"
        elif not tally.matched:
            yield (
                "no delivery belongs to any promise, so the audit proves nothing; compare how both sources write keys "
                "and revisions"
            )
        elif not tally.owed:
            yield f"nothing was owed while the data has deliveries, {self._at(self.from_ns)} to {self._at(self.to_ns)}"
        bad = self.promised.bad + self.delivered.bad
        if bad:
            yield f"{bad:,} bad {'row was' if bad == 1 else 'rows were'} skipped and not judged"
        for kind, number in sorted(tally.unknown.items(), key=lambda one: -one[1]):
            what, _, reason = kind.partition(" ")
            yield f"{number:,} of {self._of(what)} {REASONS[reason]}"

    def _of(self, what: str) -> str:
        return f"{self.tally.promises if what == 'promises' else self.tally.deliveries:,} {what}"

    def examples(self) -> dict[str, list[Example]]:
        """The earliest of each violation, then of each reason why something is unknown."""
        kept = self.tally.examples()
        if not self.tally.matched:
            return {}
        return {kind: kept[kind] for kind in (*VIOLATIONS, *sorted(set(kept) - set(VIOLATIONS))) if kind in kept}

    def denominator(self, violation: str) -> str:
        """What a violation is counted among."""
        return f"{self.tally.owed:,} owed" if violation == "missed" else f"{self.tally.deliveries:,} deliveries"

    def bars(self, at_most: int = BARS) -> list[Bar]:
        """Lateness in the order of time, in bars of the same number of hours: one, unless that makes too many."""
        hours = self.tally.hours
        known = sorted({*hours.lateness, *hours.missed})
        if not known:
            return []
        width = next(width for width in _widths() if known[-1] // width - known[0] // width < at_most)
        first, last = known[0] // width, known[-1] // width
        bars = [Bar((first + at) * width * HOUR_NS, width, Lateness(8), 0) for at in range(last - first + 1)]
        for hour in known:
            at = hour // width - first
            if hour in hours.lateness:
                bars[at].lateness.merge(hours.lateness[hour])
            bars[at] = replace(bars[at], missed=bars[at].missed + hours.missed[hour])
        return bars

    def to_json(self) -> dict[str, Any]:
        tally = self.tally
        return {
            "format": FORMAT,
            "outcome": self.outcome,
            "unknown_because": self.unknown_because,
            "violations": self.violations,
            "promises": {
                "rows": self.promised.rows,
                "repeated": tally.repeated,
                "number": tally.promises,
                **{name: tally.counts[name] for name in STATES},
                "owed": tally.owed,
                "owed_delivered": tally.owed_delivered,
            },
            "deliveries": {"number": tally.deliveries, **{name: tally.counts[name] for name in LABELS}},
            "lateness_s": tally.lateness.percentiles(),
            "hours": [
                {"from": shown(bar.start_ns), "hours": bar.hours, "delivered": bar.lateness.number}
                | {"missed": bar.missed, "lateness_s": bar.lateness.percentiles()}
                for bar in self.bars()
            ],
            "from": shown(self.from_ns),
            "to": shown(self.to_ns),
            "terms": self.terms.to_json(),
            "sources": {
                what: {"name": one.name, "columns": dict(one.columns), "bad_rows": one.bad, "first_bad": one.named}
                for what, one in (("promised", self.promised), ("delivered", self.delivered))
            },
            "examples": {kind: [_json(one) for one in some] for kind, some in self.examples().items()},
        }

    def statements(self) -> list[str]:
        """What the user said about the data, in words."""
        return [text for name, text in ASSUMPTIONS.items() if name in self.terms.assumed]

    def _at(self, instant_ns: int) -> str:
        return shown(instant_ns, self.zone)


def _json(example: Example) -> dict[str, Any]:
    return {
        "key": example.key,
        "revision": example.revision,
        "label": example.label,
        "at": shown(example.at_ns),
        "evidence": list(example.evidence),
        "explanation": example.explanation,
    }


def _widths() -> Iterator[int]:
    """Numbers of hours that a bar may have: up to a day, then whole days."""
    yield from (1, 2, 3, 6, 12)
    days = 1
    while True:
        yield 24 * days
        days += 1 if days < 7 else 7
