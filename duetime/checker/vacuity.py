"""Checks that a run exercised what its scenario is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from duetime.checker.obligations import Obligation
from duetime.history import NEVER, History, RecordedFault
from duetime.runtime.delivery_phases import PHASE_OF_TARGET

REQUIRED_PHASES = ("inject", "observed", "healed")
"""The phases that must be recorded of every planned fault."""
WHEN: Final[Mapping[str, str]] = {
    "before": "before its delivery",
    "between": "between its delivery and the answer",
    "after": "after the answer to its delivery",
}


@dataclass(frozen=True, slots=True)
class Need:
    """One precondition of a meaningful verdict. reason: why the run is unknown if `ok` is False."""

    check: str
    needed: str
    seen: str
    ok: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "reason"}


def needs(history: History, obligations: Mapping[str, Obligation]) -> list[Need]:
    """The vacuity table, in a fixed order."""
    return [
        *_operations(history),
        _at_least_one("a delivery", len(history.deliveries), "nothing was delivered"),
        *_planned_faults(history),
        *_required_faults(history, obligations.values()),
        *_canaries_and_clock(history),
    ]


def _at_least_one(check: str, seen: int, reason: str) -> Need:
    return Need(check, "at least 1", str(seen), seen > 0, reason)


def _operations(history: History) -> Iterator[Need]:
    acknowledged = Counter(o.verb for o in history.operations.values() if o.answer == "ok")
    for verb, planned in sorted(history.plan.planned.items()):
        if planned:
            seen = acknowledged[verb]  # type: ignore[index]  # a plan may name a verb that this version does not know
            yield _at_least_one(
                f"an acknowledged {verb}", seen, f"the plan has {planned} {verb} operations, and none was acknowledged"
            )


def _planned_faults(history: History) -> Iterator[Need]:
    recorded = {fault.fault: fault for fault in history.faults}
    for planned in history.plan.faults:
        name = f"{planned['fault']} ({planned['kind']} {planned['target']})"
        fault = recorded.get(planned["fault"])
        seen = [phase for phase in REQUIRED_PHASES if fault and phase in fault.phases]
        yield Need(
            check=f"fault {name}",
            needed=", ".join(REQUIRED_PHASES),
            seen=", ".join(seen) or "nothing",
            ok=len(seen) == len(REQUIRED_PHASES),
            reason=_missing_phase(name, seen) + _never_in(planned["target"], seen),
        )
        yield from _hit_in_phase(name, planned["target"], fault if len(seen) == len(REQUIRED_PHASES) else None)


def _missing_phase(name: str, seen: list[str]) -> str:
    if "inject" not in seen:
        return f"fault {name} was planned and never injected"
    if "observed" not in seen:
        return f"fault {name} was injected, and its effect was never verified"
    return f"fault {name} was never verified as healed"


def _never_in(target: str, seen: list[str]) -> str:
    if target not in PHASE_OF_TARGET or "inject" in seen:
        return ""
    return f": no worker was seen in time {WHEN[PHASE_OF_TARGET[target]]}"


def _hit_in_phase(name: str, target: str, fault: RecordedFault | None) -> Iterator[Need]:
    """The phase of a delivery that a fault asked for. Older runs of `delivering` did not measure it."""
    if fault is None or target not in PHASE_OF_TARGET or (target == "delivering" and not fault.hit):
        return
    asked = PHASE_OF_TARGET[target]
    seen = WHEN.get(fault.hit, fault.hit) if fault.hit else "nothing"
    yield Need(
        check=f"phase of {name}",
        needed=WHEN[asked],
        seen=seen,
        ok=fault.hit == asked,
        reason=f"fault {name} was to hit a worker {WHEN[asked]}, and the records show {seen}",
    )


def _required_faults(history: History, obligations: Iterable[Obligation]) -> Iterator[Need]:
    if history.plan.required_faults:
        kinds = " or ".join(history.plan.required_faults)
        faults = [f for f in history.faults if f.kind in history.plan.required_faults and f.injected_ns < NEVER]
        seen = sum(
            obligation.required and any(_overlap(fault, obligation) for fault in faults) for obligation in obligations
        )
        yield _at_least_one(
            f"a required notification whose time overlaps a {kinds}",
            seen,
            f"no required notification was due while a {kinds} was in force, and the scenario needs one",
        )


def _overlap(fault: RecordedFault, obligation: Obligation) -> bool:
    concerned = fault.concerns(obligation.operation.key)
    return concerned and fault.injected_ns <= obligation.deadline_ns and obligation.operation.due_ns <= fault.healed_ns


def _canaries_and_clock(history: History) -> Iterator[Need]:
    if history.closed is None:
        return
    yield _at_least_one(
        "a canary",
        len(history.canaries),
        "no canary was delivered, so nothing shows that the harness itself was on time",
    )
    yield _at_least_one(
        "a clock sample",
        len(history.clock),
        "the clocks were never sampled, so early and late cannot be judged",
    )
