"""How late, in percentiles: no verdict rests on these, but every comparison does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from typing import Final

from duetime.checker.labels import Labelled
from duetime.checker.obligations import Obligation
from duetime.checker.results import Percentiles
from duetime.history.records import Verb

RANKS: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}


def lateness(labelled: Iterable[Labelled]) -> dict[str, Percentiles]:
    """Delivery minus ready, of the first delivery of every acknowledged revision: raw, and in healthy time only.

    A delivery inside the early tolerance, or between the call and its answer, counts as 0.
    """
    kept = list(_kept(labelled))
    return {
        "raw": percentiles(max(0, at_ns - obligation.ready_ns) for obligation, at_ns in kept),
        "healthy": percentiles(obligation.excused.healthy(obligation.ready_ns, at_ns) for obligation, at_ns in kept),
    }


OVERTAKEN_NS: Final = 1_000_000_000
"""Concurrent deliveries overtake one another by milliseconds; from a second on, somebody would notice."""


def service(labelled: Iterable[Labelled], *, event_begins_ns: int | None) -> dict[str, int]:
    """What no rule forbids and a recipient notices, counted over first deliveries of acknowledged revisions.

    event_begun: delivered `event_begins_ns` or more after it was due. overtaken: ready a second before another that
    was delivered first.
    """
    begun = overtaken = latest_ready_ns = 0
    for obligation, at_ns in sorted(_kept(labelled), key=lambda kept: kept[1]):
        begun += event_begins_ns is not None and at_ns - obligation.operation.due_ns >= event_begins_ns
        overtaken += latest_ready_ns - obligation.ready_ns > OVERTAKEN_NS
        latest_ready_ns = max(latest_ready_ns, obligation.ready_ns)
    return {"event_begun": begun, "overtaken": overtaken}


def _kept(labelled: Iterable[Labelled]) -> Iterator[tuple[Obligation, int]]:
    """Acknowledged revisions, and when each was first delivered."""
    for found in labelled:
        if found.obligation and found.obligation.operation.answer == "ok" and found.first is found.delivery:
            yield found.obligation, found.delivery.at_ns


def after_superseded(labelled: Iterable[Labelled], verb: Verb) -> Percentiles:
    """How long an acknowledged cancel, or a newer schedule, was outlived by the revision that it took back.

    For each revision that was delivered after that acknowledgement: from there to its last delivery.
    """
    longest: dict[str, int] = {}
    for found in labelled:
        by = found.obligation.superseded_by if found.obligation else None
        if by and by.verb == verb and found.delivery.at_ns > by.answered_ns:
            longest[found.delivery.op] = found.delivery.at_ns - by.answered_ns
    return percentiles(longest.values())


def percentiles(spans_ns: Iterable[int]) -> Percentiles:
    """Nearest rank, so every figure is one that was measured; nulls when there was nothing to measure."""
    ordered = sorted(spans_ns)
    if not ordered:
        return dict.fromkeys(RANKS)
    return {name: ordered[ceil(rank * len(ordered)) - 1] / 1e9 for name, rank in RANKS.items()}
