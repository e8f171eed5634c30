"""One history in, one verdict out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from duetime.checker.doubts import Doubts
from duetime.checker.explain import Narrator, evidence
from duetime.checker.labels import ACCUSATIONS, LABELS, Accusation, Labelled, label
from duetime.checker.latency import after_superseded, lateness
from duetime.checker.obligations import STATES, State, states
from duetime.checker.promises import Promise, excused_time, promises_of
from duetime.checker.results import Anomaly, Outcome, Results
from duetime.checker.unknown import reasons
from duetime.checker.vacuity import needs
from duetime.history import History, load


def judge(run_dir: Path) -> Results:
    """The verdict on a stored run; reads files and writes none.

    Raises:
        NotARun: there is no run in `run_dir`.
    """
    return judge_history(load(run_dir))


def judge_history(history: History) -> Results:
    profile = history.plan.profile
    excused = excused_time(history.faults, profile)
    promises = promises_of(history.operations.values(), excused=excused, lateness_limit_ns=profile.lateness_limit_ns)
    doubts = Doubts(history, promises, excused)
    labelled = label(history.deliveries, promises, excused=excused, profile=profile)
    for found in labelled:
        doubts.weigh(found)
    state_of = states(promises, delivered={d.op for d in history.deliveries}, doubts=doubts)
    anomalies = sorted(_anomalies(history, promises, state_of, labelled), key=lambda a: (a.at_ns, a.op, a.label))
    table = needs(history, promises)
    unknown_because = reasons(history, doubts, table, awaited=list(state_of.values()).count("open"))
    return Results(
        run=history.plan.identity,
        outcome=_outcome(anomalies, unknown_because),
        unknown_because=unknown_because,
        counts=_counts(history, state_of, labelled),
        lateness_s=lateness(labelled, excused),
        cancel_latency_s=after_superseded(labelled, "cancel"),
        revision_latency_s=after_superseded(labelled, "schedule"),
        vacuity=[need.to_json() for need in table],
        profile=profile.as_written,
        anomalies=anomalies,
        states=state_of,
        labelled=sorted(labelled, key=lambda found: found.delivery.line),
    )


def _outcome(anomalies: list[Anomaly], unknown_because: list[str]) -> Outcome:
    if anomalies:
        return "fail"
    return "unknown" if unknown_because else "pass"


def _counts(history: History, state_of: Mapping[str, State], labelled: list[Labelled]) -> dict[str, int]:
    """Every label and every state, zeros included; of the missed, how many a store still held and how many none did."""
    counts = Counter[str](found.label for found in labelled) + Counter(state_of.values())
    pending = history.closed.pending if history.closed else None
    if pending is not None:
        stuck = sum(state == "missed" and op in pending for op, state in state_of.items())
        counts.update(stuck=stuck, lost=counts["missed"] - stuck)
    return {name: counts[name] for name in (*LABELS, *STATES, "lost", "stuck")}


def _anomalies(
    history: History, promises: Mapping[str, Promise], state_of: Mapping[str, State], labelled: list[Labelled]
) -> Iterator[Anomaly]:
    narrator = Narrator(history)
    pending = (history.closed.pending if history.closed else None) or {}
    for op, state in state_of.items():
        if state == "missed":
            yield _missed(promises[op], pending.get(op), narrator)
    for found in labelled:
        if found.label in ACCUSATIONS:
            yield _accused(cast("Accusation", found.label), found, narrator)


def _missed(promise: Promise, where: str | None, narrator: Narrator) -> Anomaly:
    o = promise.operation
    lines = evidence([o], [], narrator.faults(o.due_ns, promise.deadline_ns))
    return Anomaly(o.op, "missed", promise.deadline_ns, lines, narrator.missed(promise, where))


def _accused(accusation: Accusation, found: Labelled, narrator: Narrator) -> Anomaly:
    delivery, promise = found.delivery, found.promise
    operations = [promise.operation] if promise else []
    if promise and promise.superseded_by and accusation in ("phantom", "stale"):
        operations.append(promise.superseded_by)
    deliveries = [found.first, delivery] if accusation == "duplicate" else [delivery]
    since_ns = min(promise.ready_ns, delivery.at_ns) if promise else delivery.at_ns
    lines = evidence(operations, deliveries, narrator.faults(since_ns, delivery.at_ns))
    return Anomaly(delivery.op, accusation, delivery.at_ns, lines, narrator.accused(accusation, found))


def label_lines(run_dir: Path) -> Iterator[dict[str, Any]]:
    """Every obligation and every delivery with its label, so that another checker can be held against this one."""
    results = judge(run_dir)
    for op, state in results.states.items():
        yield {"op": op, "state": state}
    for found in results.labelled:
        delivery = found.delivery
        yield {"line": delivery.line, "op": delivery.op, "label": found.label, "also": list(found.also)}
