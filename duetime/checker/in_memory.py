"""Judge records in memory, without files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from duetime.checker.judge import judge_history
from duetime.checker.results import Results
from duetime.history import Closed, RecordedPlan, StoredEntry, assemble
from duetime.history.records import nanoseconds

Records = Sequence[Mapping[str, Any]]

PROFILE = {"early_tolerance_s": 0.05, "lateness_limit_s": 2.0, "in_flight_allowance_s": 0.5, "recovery_budget_s": {}}
PUNCTUAL_CANARY = {"op": "canary/0", "key": "canary", "revision": 0, "worker": "canary", "due_ns": 0, "at_ns": 0}


def check(
    history: Records,
    *,
    deliveries: Records = (),
    faults: Records = (),
    clock: Records = ({"wall_ns": 0, "mono_ns": 0},),
    closed_at_s: float | None = None,
    pending: Mapping[str, str | StoredEntry] | None = None,
    after_stop: Mapping[str, str | StoredEntry] | None = None,
    unlisted: str = "",
    cut_short: Sequence[str] | None = None,
    workers_alive: bool = True,
    restarts: Sequence[tuple[int, str, int]] = (),
    plan: Mapping[str, Any] | None = None,
) -> Results:
    """Judge records that have the form of the lines of the files.

    The defaults are a punctual canary, clocks that agree and an empty plan. `plan` overrides single fields of it;
    without `closed_at_s` the history is open. What is stored may be given by its place alone.
    """
    if not any(delivery["worker"] == "canary" for delivery in deliveries):
        deliveries = [*deliveries, PUNCTUAL_CANARY]
    lines = {
        "history.jsonl": _numbered(history),
        "deliveries.jsonl": _numbered(deliveries),
        "faults.jsonl": _numbered(faults),
        "clock.jsonl": _numbered(clock),
    }
    closed = None
    if closed_at_s is not None:
        closed = Closed(
            nanoseconds(closed_at_s),
            None if unlisted else _entries(pending or {}),
            workers_alive,
            restarts=tuple(restarts),
            after_stop=None if after_stop is None else _entries(after_stop),
            unlisted=unlisted,
            cut_short=None if cut_short is None else tuple(cut_short),
        )
    return judge_history(
        assemble(RecordedPlan.from_json({"profile": PROFILE, **(plan or {})}), lines=lines, closed=closed)
    )


def _entries(stored: Mapping[str, str | StoredEntry]) -> Mapping[str, StoredEntry]:
    return {op: StoredEntry(entry) if isinstance(entry, str) else entry for op, entry in stored.items()}


def _numbered(records: Records) -> Iterable[tuple[int, Mapping[str, Any]]]:
    return enumerate(records, start=1)
