"""The reasons why a run is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from duetime.checker.evidence import Evidence
from duetime.checker.interruptions import RESTART_EXCUSED_NS
from duetime.checker.other_clock import OtherClock
from duetime.checker.vacuity import Need
from duetime.checker.wording import RunClock, duration
from duetime.history import NEVER, History
from duetime.history.records import nanoseconds


def reasons(
    history: History, evidence: Evidence, table: Iterable[Need], *, open_required: int, doubts: Iterable[str]
) -> list[str]:
    """Sentences without their full stop, the most serious first; none if the run can pass.

    table: the vacuity table. open_required: the required notifications that are neither delivered nor proven missed,
    other than those in `doubts`, which are sentences about what the design's store still has.
    """
    clock = RunClock(history.started_ns)
    found = [
        *history.problems,
        *_closing(history, clock, open_required),
        *doubts,
        *(need.reason for need in table if not need.ok),
        *(f"fault {f} was never verified as healed" for f in history.faults if f.injected_ns < NEVER == f.healed_ns),
        *(
            f"the wall clock stepped by {step / 1e6:.1f} ms before {clock.at(at)}, so early and late cannot be judged"
            for at, step in evidence.steps
        ),
        *_other_clock(evidence.other_clock),
        *(
            f"the harness itself was starved {clock.period(start, end)}, so a late or missing delivery in these "
            f"{duration(end - start)} does not count against the design"
            for start, end in sorted(evidence.used)
        ),
    ]
    return list(dict.fromkeys(found))


def _other_clock(clock: OtherClock) -> Iterator[str]:
    if clock.beyond_tolerance:
        yield (
            f"the clock of the database server was up to {clock.ahead_ns / 1e6:.1f} ms ahead of and "
            f"{clock.behind_ns / 1e6:.1f} ms behind the harness's, and changed by {clock.changed_ns / 1e6:.1f} ms, so "
            "a delivery that is early or late by less does not count; synchronise both machines"
        )


def _closing(history: History, clock: RunClock, open_required: int) -> Iterator[str]:
    if history.closed is None:
        yield "the history was never closed, so more deliveries may still arrive"
        return
    if not history.closed.workers_alive:
        yield "a worker was not alive when the history was closed, and no planned fault explains it"
    quiet_ns, needed_ns = history.closed.quiet_ns, nanoseconds(history.plan.profile.as_written.get("quiet_s", 0))
    if quiet_ns is not None and quiet_ns < needed_ns:
        before = duration(quiet_ns)
        yield f"the last delivery came {before} before the workers were stopped, so more may have been pending"
    for at_ns, worker, status in history.closed.restarts:
        excused = any(f.injected_ns <= at_ns <= f.healed_ns + RESTART_EXCUSED_NS for f in history.faults)
        if status < 0 and not excused:
            yield f"signal {-status} ended {worker} at {clock.at(at_ns)}, and no planned fault explains it"
    if open_required:
        had = "notification had" if open_required == 1 else "notifications had"
        yield f"{open_required} required {had} not arrived, and the records do not prove a miss"
