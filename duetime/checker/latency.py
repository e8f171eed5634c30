"""Percentiles of lateness, for comparisons; no verdict depends on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from typing import Final

from duetime.checker.labels import Labelled
from duetime.checker.obligations import Obligation
from duetime.checker.results import Percentiles
from duetime.history.records import Verb

RANKS: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}

OVERTAKEN_NS: Final = 1_000_000_000
"""Concurrent deliveries overtake one another by milliseconds; a recipient notices a second."""


def lateness(labelled: Iterable[Labelled]) -> dict[str, Percentiles]:
    """First delivery minus ready, over all acknowledged revisions: raw, and in healthy time only.

    A delivery before ready counts as 0.
    """
    first = list(_first_deliveries(labelled))
    return {
        "raw": percentiles(max(0, at_ns - obligation.ready_ns) for obligation, at_ns in first),
        "healthy": percentiles(obligation.excused.healthy(obligation.ready_ns, at_ns) for obligation, at_ns in first),
    }


def service(labelled: Iterable[Labelled], *, event_begins_ns: int | None) -> dict[str, int]:
    """Counts of what no rule forbids but a recipient notices, over first deliveries of acknowledged revisions.

    event_begun: delivered `event_begins_ns` or more after it was due.
    overtaken: ready more than a second before another notification that was delivered earlier.
    """
    begun = overtaken = latest_ready_ns = 0
    for obligation, at_ns in sorted(_first_deliveries(labelled), key=lambda first: first[1]):
        begun += event_begins_ns is not None and at_ns - obligation.operation.due_ns >= event_begins_ns
        overtaken += latest_ready_ns - obligation.ready_ns > OVERTAKEN_NS
        latest_ready_ns = max(latest_ready_ns, obligation.ready_ns)
    return {"event_begun": begun, "overtaken": overtaken}


def _first_deliveries(labelled: Iterable[Labelled]) -> Iterator[tuple[Obligation, int]]:
    """Each acknowledged revision with the instant of its first delivery."""
    for item in labelled:
        if item.obligation and item.obligation.operation.answer == "ok" and item.first is item.delivery:
            yield item.obligation, item.delivery.at_ns


def after_superseded(labelled: Iterable[Labelled], verb: Verb) -> Percentiles:
    """Last delivery minus acknowledged cancel (or newer schedule), over revisions delivered after it."""
    longest: dict[str, int] = {}
    for item in labelled:
        by = item.obligation.superseded_by if item.obligation else None
        if by and by.verb == verb and item.delivery.at_ns > by.answered_ns:
            longest[item.delivery.op] = item.delivery.at_ns - by.answered_ns
    return percentiles(longest.values())


def percentiles(spans_ns: Iterable[int]) -> Percentiles:
    """Percentiles by nearest rank, in seconds; None where nothing was measured."""
    ordered = sorted(spans_ns)
    if not ordered:
        return dict.fromkeys(RANKS)
    return {name: ordered[ceil(rank * len(ordered)) - 1] / 1e9 for name, rank in RANKS.items()}
