"""How late, in percentiles: no verdict rests on these, but every comparison does."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Final

from duetime.checker.labels import Labelled
from duetime.checker.results import Percentiles
from duetime.checker.spans import Spans
from duetime.history.records import Verb

RANKS: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}


def lateness(labelled: Iterable[Labelled], excused: Spans) -> dict[str, Percentiles]:
    """Delivery minus ready, of the first delivery of every acknowledged revision: raw, and in healthy time only.

    A delivery inside the early tolerance, or between the call and its answer, counts as 0.
    """
    spans = [
        (found.promise.ready_ns, found.delivery.at_ns)
        for found in labelled
        if found.promise and found.promise.operation.answer == "ok" and found.first is found.delivery
    ]
    return {
        "raw": percentiles(max(0, at - ready) for ready, at in spans),
        "healthy": percentiles(excused.healthy(ready, at) for ready, at in spans),
    }


def after_superseded(labelled: Iterable[Labelled], verb: Verb) -> Percentiles:
    """How long an acknowledged cancel, or a newer schedule, was outlived by the revision that it took back.

    For each revision that was delivered after that acknowledgement: from there to its last delivery.
    """
    longest: dict[str, int] = {}
    for found in labelled:
        by = found.promise.superseded_by if found.promise else None
        if by and by.verb == verb and found.delivery.at_ns > by.answered_ns:
            longest[found.delivery.op] = found.delivery.at_ns - by.answered_ns
    return percentiles(longest.values())


def percentiles(spans_ns: Iterable[int]) -> Percentiles:
    """Nearest rank, so every figure is one that was measured; nulls when there was nothing to measure."""
    ordered = sorted(spans_ns)
    if not ordered:
        return dict.fromkeys(RANKS)
    return {name: ordered[ceil(rank * len(ordered)) - 1] / 1e9 for name, rank in RANKS.items()}
