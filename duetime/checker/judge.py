"""Judge one history: from its records to its results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from duetime.checker.evidence import Evidence
from duetime.checker.interruptions import Interruptions
from duetime.checker.labels import LABELS, Labelled, label
from duetime.checker.latency import after_superseded, lateness, service
from duetime.checker.leftovers import awaiting_recovery, doubts, leftovers, maybe_left
from duetime.checker.obligations import Excuses, Obligation, obligations_of
from duetime.checker.results import Outcome, Results
from duetime.checker.states import STATES, State, states
from duetime.checker.unknown import reasons
from duetime.checker.vacuity import needs
from duetime.checker.violations import Violation, violations
from duetime.history import NEVER, History, StoredEntry, load
from duetime.history.gc_paused import gc_paused


def judge(run_dir: Path) -> Results:
    """Judge a stored run; writes no file.

    Raises:
        NotARun: `run_dir` holds no run.
    """
    return judge_history(load(run_dir))


@gc_paused
def judge_history(history: History) -> Results:
    profile = history.plan.profile
    excused = Excuses.by(history.faults, profile)
    obligations = obligations_of(
        history.operations.values(), excused=excused, lateness_limit_ns=profile.lateness_limit_ns
    )
    evidence = Evidence(history, obligations, excused)
    labelled = label(history.deliveries, obligations, profile=profile)
    for item in labelled:
        evidence.apply(item)
    interruptions = Interruptions(history)
    left = leftovers(history, obligations, interruptions, evidence)
    awaited = awaiting_recovery(history, obligations, interruptions)
    state_of = states(
        obligations,
        delivered={d.op for d in history.deliveries},
        will_repeat={one.op for one in left if one.proven},
        awaits_recovery=awaited,
        evidence=evidence,
    )
    found = violations(history, obligations, state_of, labelled, left)
    table = needs(history, obligations)
    awaited = {op: one for op, one in awaited.items() if state_of[op] == "open"}
    unknown_because = reasons(
        history,
        evidence,
        table,
        open_required=_open_required(history, obligations, state_of) - len(awaited),
        doubts=doubts(history, left, list(maybe_left(history, obligations, interruptions)), awaited),
    )
    return Results(
        run=history.plan.identity,
        outcome=_outcome(found, unknown_because),
        unknown_because=unknown_because,
        counts=_counts(history, obligations, state_of, labelled),
        lateness_s=lateness(labelled),
        service=service(labelled, event_begins_ns=profile.event_begins_ns),
        cancel_latency_s=after_superseded(labelled, "cancel"),
        revision_latency_s=after_superseded(labelled, "schedule"),
        vacuity=[need.to_json() for need in table],
        profile=profile.as_written,
        violations=found,
        obligations=obligations,
        states=state_of,
        labelled=sorted(labelled, key=lambda item: item.delivery.line),
    )


def _outcome(found: list[Violation], unknown_because: list[str]) -> Outcome:
    if found:
        return "fail"
    return "unknown" if unknown_because else "pass"


def _open_required(history: History, obligations: Mapping[str, Obligation], state_of: Mapping[str, State]) -> int:
    """The number of open obligations whose due time this run covers."""
    limit_ns = _owed_until_ns(history)
    return sum(state == "open" and obligations[op].operation.due_ns <= limit_ns for op, state in state_of.items())


def _owed_until_ns(history: History) -> int:
    owed_until_ns = history.plan.profile.owed_until_ns
    return NEVER if owed_until_ns is None else history.started_ns + owed_until_ns


def _counts(
    history: History,
    obligations: Mapping[str, Obligation],
    state_of: Mapping[str, State],
    labelled: list[Labelled],
) -> dict[str, int]:
    """Every label and state, zeros included.

    The missed are counted again as stuck (still in a store), failed (in a store, and not tried again) or lost; the
    delivered include those that will repeat. Owed are the required notifications of which this run shows whether they
    arrive; those that arrived are counted again. A design may deliver more than it owes: what is then cancelled.
    """
    counts = Counter[str](item.label for item in labelled) + Counter(state_of.values())
    counts["delivered"] += counts["will_repeat"]
    limit_ns = _owed_until_ns(history)
    for op, obligation in obligations.items():
        if obligation.required and (state_of[op] != "open" or obligation.operation.due_ns <= limit_ns):
            counts["owed"] += 1
            counts["arrived"] += state_of[op] in ("delivered", "will_repeat")
    pending = history.closed.pending if history.closed else None
    if pending is not None and counts["missed"]:
        places = Counter(place_of_missed(pending.get(op)) for op, state in state_of.items() if state == "missed")
        counts.update(places)
    return {name: counts[name] for name in (*LABELS, *STATES, "lost", "stuck", "failed", "owed", "arrived")}


def place_of_missed(entry: StoredEntry | None) -> str:
    """Return where a missed notification is: lost, failed or stuck. entry: what the design's store has of it."""
    if entry is None:
        return "lost"
    return "failed" if entry.state == "failed" else "stuck"


def label_lines(run_dir: Path) -> Iterator[dict[str, Any]]:
    """Every obligation with its state and every delivery with its labels, to compare this checker with another."""
    results = judge(run_dir)
    for op, state in results.states.items():
        yield {"op": op, "state": state}
    for item in results.labelled:
        delivery = item.delivery
        yield {"line": delivery.line, "op": delivery.op, "label": item.label, "also": list(item.also)}
