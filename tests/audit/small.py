"""Audits of a few rows. Times are seconds after noon."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from duetime.audit import DELIVERED, PROMISED, Instants, Report, Request, Terms, Wanted, audit

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
S = 10**9
TERMS = {
    "lateness_limit_ns": 10 * S,
    "early_tolerance_ns": S,
    "in_flight_ns": 2 * S,
    "clock_tolerance_ns": S,
    "recovery_ns": 5 * S,
}
OTHERS = [("other", 1, 0), ("other", 2, 1000)]
"""Deliveries that show from when to when deliveries are in the data."""


def at(seconds: float | None) -> str:
    return "" if seconds is None else (NOON + timedelta(seconds=seconds)).isoformat()


def ns(seconds: float) -> int:
    return round((NOON.timestamp() + seconds) * S)


def promise(
    key: str = "k",
    revision: int | None = 1,
    due: float | None = 100,
    accepted: float | None = 50,
    cancelled: float | None = None,
) -> list[Any]:
    return [key, revision, at(due), at(accepted), at(cancelled)]


PROMISED_COLUMNS = ("key", "revision", "due", "accepted_at", "cancelled_at")
DELIVERED_COLUMNS = ("key", "revision", "at")


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([columns, *rows])
    return path


def audited(
    directory: Path,
    promises: Sequence[Sequence[Any]],
    deliveries: Sequence[tuple[Any, ...]] = (),
    *,
    without: Sequence[str] = (),
    terms: Mapping[str, Any] | None = None,
    others: bool = True,
    **options: Any,
) -> Report:
    """Audit rows; `without` columns. deliveries: key, revision and seconds; `others` are added, with their promises."""
    if others:
        promises = [*promises, promise("other", 1, due=0, accepted=-60), promise("other", 2, due=1000, accepted=20)]
        deliveries = [*deliveries, *OTHERS]
    rows = [(key, revision, at(seconds)) for key, revision, seconds in deliveries]
    files = []
    for name, columns, content in (
        ("promised", PROMISED_COLUMNS, promises),
        ("delivered", DELIVERED_COLUMNS, rows),
    ):
        kept = [number for number, column in enumerate(columns) if f"{name}.{column}" not in without]
        picked = [[row[number] for number in kept] for row in content]
        files.append(write(directory / f"{name}.csv", [columns[number] for number in kept], picked))
    return audit(request(*map(str, files), terms=terms, **options))


def request(promised: str, delivered: str, *, terms: Mapping[str, Any] | None = None, **options: Any) -> Request:
    return Request(
        promised=promised,
        delivered=delivered,
        promised_wanted=Wanted.parse("promised", PROMISED, options.pop("promised_columns", "")),
        delivered_wanted=Wanted.parse("delivered", DELIVERED, options.pop("delivered_columns", "")),
        terms=Terms(**{**TERMS, **(terms or {})}),
        instants=Instants(options.pop("zone", None)),
        **options,
    )


def violations(report: Report) -> dict[str, int]:
    return {name: number for name, number in report.violations.items() if number}


def reasons(report: Report) -> dict[str, int]:
    return dict(report.tally.unknown)
