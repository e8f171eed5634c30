"""Judges an interleaving with the checker of runs, on logical time: an instant is the number of a step.

A delivery counts at its worker's last query, because the delivery itself may take any number of steps. Lateness is not
judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from duetime.checker import judge_history
from duetime.checker.in_memory import PUNCTUAL_CANARY
from duetime.explore.participants import Ended
from duetime.explore.scopes import Scope
from duetime.explore.steps import FAULTS
from duetime.harness.plan.plan import Environment, Plan, PlannedFault, Profile
from duetime.harness.runs.guarantees import not_covered
from duetime.history import Closed, RecordedPlan, StoredEntry, assemble
from duetime.interface import Guarantees

STEP_NS = 1_000_000_000
FOREVER_S = 1e6
"""No interleaving has so many steps."""
LAWFUL = {"nothing was delivered"}
"""A run would prove nothing then; here a cancel was in time."""
DUE_NS = -600 * STEP_NS
PROFILE = Profile(lateness_limit_s=FOREVER_S, in_flight_allowance_s=0.0, early_tolerance_s=0.0, delivery_time_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """violations: label and op of each. broken: those that the design's guarantees exclude.

    unknown: why the interleaving proves nothing; empty if it does.
    """

    violations: Sequence[tuple[str, str]]
    broken: Sequence[str]
    unknown: str = ""


def judge(ended: Ended, scope: Scope, guarantees: Guarantees) -> Verdict:
    """Judge an interleaving of `scope`."""
    faults = list(_faults(ended))
    plan = Plan(
        scenario=f"explore/{scope.name}", seed=0, workers=scope.workers, profile=PROFILE, environment=Environment(),
        required_faults=(), operations=[],
        faults=tuple(
            PlannedFault(fault=fault["fault"], kind=fault["kind"], target=fault["target"], inject_s=0.0, heal_s=0.0)
            for fault in faults if fault["phase"] == "inject"
        ),
    )  # fmt: skip
    recorded = RecordedPlan.from_json({"profile": asdict(PROFILE)})
    history = assemble(
        recorded,
        lines={
            "history.jsonl": _numbered(_calls(ended, scope)),
            "deliveries.jsonl": _numbered([*_deliveries(ended), PUNCTUAL_CANARY]),
            "faults.jsonl": _numbered(faults),
            "clock.jsonl": _numbered([{"wall_ns": 0, "mono_ns": 0}]),
        },
        closed=Closed(
            int(2 * FOREVER_S) * STEP_NS,
            {op: StoredEntry(where) for op, where in ended.stored.items()},
            workers_alive=True,
        ),
    )
    results = judge_history(history)
    broken = not_covered(guarantees, plan, history, results)
    violations = [(violation.label, violation.op) for violation in results.violations]
    cut_off = {event.participant for event in ended.events if event.what == "cut"}
    errors = [
        f"{event.participant}: {event.detail}"
        for event in ended.events
        if event.what == "error" and event.participant not in cut_off
    ]
    unknown = "; ".join([*errors, *(reason for reason in results.unknown_because if reason not in LAWFUL)])
    return Verdict(
        violations=violations, broken=broken or (), unknown=unknown
    )  # fmt: skip


def _ns(at: float) -> int:
    return round(at * STEP_NS)


def _calls(ended: Ended, scope: Scope) -> Iterator[Mapping[str, Any]]:
    calls = {call.op: call for call in scope.calls()}
    for number, event in enumerate(event for event in ended.events if event.what in ("invoke", "ok", "fail", "info")):
        call = calls[event.op]
        record = {
            "i": number, "client": 1, "op": call.op, "f": call.verb, "key": call.key, "revision": call.revision,
            "type": event.what, "at_ns": _ns(event.at),
        }  # fmt: skip
        yield {**record, "due_ns": DUE_NS} if call.verb == "schedule" else record


def _deliveries(ended: Ended) -> Iterator[Mapping[str, Any]]:
    for event in ended.events:
        if event.what == "deliver":
            key, _, revision = event.op.rpartition("/")
            yield {
                "op": event.op, "key": key, "revision": int(revision), "worker": event.participant,
                "attempt": event.attempt, "at_ns": _ns(event.queried_at),
            }  # fmt: skip


def _faults(ended: Ended) -> Iterator[dict[str, Any]]:
    faults = [event for event in ended.events if event.what in FAULTS]
    for number, fault in enumerate(faults, start=1):
        for phase, at in (("inject", fault.since), ("observed", fault.at), ("heal", fault.at), ("healed", fault.at)):
            yield {
                "fault": f"f{number}", "kind": fault.what, "phase": phase, "at_ns": _ns(at), "evidence": "seen",
                "target": fault.participant if fault.what == "kill" else "database",
            }  # fmt: skip


def _numbered(records: Any) -> Any:
    return enumerate(records, start=1)
