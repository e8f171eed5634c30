"""The reasons for which a run proves less than it set out to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from duetime.checker.evidence import Evidence
from duetime.checker.explain import Narrator, seconds
from duetime.checker.vacuity import Need
from duetime.history import NEVER, History
from duetime.history.records import nanoseconds

RESTARTED_NS = 15_000_000_000
"""So long after a fault what it did to a server may still end it."""


def reasons(history: History, evidence: Evidence, table: Iterable[Need], *, awaited: int) -> list[str]:
    """Sentences without their full stop, the gravest first; none when the run can pass.

    awaited: how many required notifications had not come when nothing could be called missed yet.
    """
    narrator = Narrator(history)
    found = [
        *history.problems,
        *_close(history, awaited),
        *(need.otherwise for need in table if not need.ok),
        *(f"fault {f} was never seen to heal" for f in history.faults if f.injected_ns < NEVER == f.healed_ns),
        *(
            f"the wall clock stepped by {step / 1e6:.1f} ms before {narrator.at(at)}, so early and late cannot be told"
            for at, step in evidence.steps
        ),
        *(
            f"the harness itself was starved from {narrator.at(start)} to {narrator.at(end)}, so what looked late or "
            f"long in flight then ({seconds(end - start)}) cannot be held against the design"
            for start, end in sorted(evidence.used)
        ),
    ]
    return list(dict.fromkeys(found))


def _close(history: History, awaited: int) -> Iterator[str]:
    if history.closed is None:
        yield "the history was never closed, so what has not arrived may still arrive"
        return
    if not history.closed.workers_alive:
        yield "a worker was not alive when the history was closed, outside any planned fault"
    quiet_ns, needed_ns = history.closed.quiet_ns, nanoseconds(history.plan.profile.as_written.get("quiet_s", 0))
    if quiet_ns is not None and quiet_ns < needed_ns:
        since = seconds(quiet_ns)
        yield f"deliveries went on until {since} before the workers were stopped, and more may have been to come"
    for at_ns, worker, status in history.closed.restarts:
        excused = any(f.injected_ns <= at_ns <= f.healed_ns + RESTARTED_NS for f in history.faults)
        if status < 0 and not excused:
            when = Narrator(history).at(at_ns)
            yield f"{worker} was ended by signal {-status} at {when}, outside any planned fault: by whom is not known"
    if awaited:
        yield f"{awaited} required notifications had not arrived, and cannot be called missed on this evidence"
