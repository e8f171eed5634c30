"""Whether a run shows anything at all: a verdict over nothing is no verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from duetime.checker.obligations import Obligation
from duetime.history import NEVER, History, RecordedFault

BITTEN = ("inject", "observed", "healed")
"""The phases that a planned fault must be recorded in: tried, seen to bite, seen to be over."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that had to happen for the verdict to mean something."""

    check: str
    needed: str
    seen: str
    ok: bool
    otherwise: str
    """The reason for which the run is unknown when it did not happen."""

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "otherwise"}


def needs(history: History, obligations: Mapping[str, Obligation]) -> list[Need]:
    """The vacuity table, in a fixed order."""
    return [
        *_operations(history),
        _at_least_one("a delivery", len(history.deliveries), "nothing was delivered at all"),
        *_faults(history),
        *_purpose(history, obligations.values()),
        *_witnesses(history),
    ]


def _at_least_one(check: str, seen: int, otherwise: str) -> Need:
    return Need(check, "at least 1", str(seen), seen > 0, otherwise)


def _operations(history: History) -> Iterator[Need]:
    acknowledged = Counter(o.verb for o in history.operations.values() if o.answer == "ok")
    for verb, planned in sorted(history.plan.planned.items()):
        if planned:
            seen = acknowledged[verb]  # type: ignore[index]  # a plan may name a verb that this version does not know
            yield _at_least_one(
                f"an acknowledged {verb}", seen, f"the plan has {planned} {verb} operations, and none was acknowledged"
            )


def _faults(history: History) -> Iterator[Need]:
    recorded = {fault.fault: fault for fault in history.faults}
    for planned in history.plan.faults:
        name = f"{planned['fault']} ({planned['kind']} {planned['target']})"
        fault = recorded.get(planned["fault"])
        seen = [phase for phase in BITTEN if fault and phase in fault.phases]
        yield Need(
            check=f"fault {name}",
            needed=", ".join(BITTEN),
            seen=", ".join(seen) or "nothing",
            ok=len(seen) == len(BITTEN),
            otherwise=_shortcoming(name, seen),
        )


def _shortcoming(name: str, seen: list[str]) -> str:
    if "inject" not in seen:
        return f"fault {name} was planned and never injected"
    if "observed" not in seen:
        return f"fault {name} was injected and never observed to bite"
    return f"fault {name} was never seen to heal"


def _purpose(history: History, obligations: Iterable[Obligation]) -> Iterator[Need]:
    if history.plan.required_faults:
        kinds = " or ".join(history.plan.required_faults)
        faults = [f for f in history.faults if f.kind in history.plan.required_faults and f.injected_ns < NEVER]
        seen = sum(
            obligation.required and any(_hits(fault, obligation) for fault in faults) for obligation in obligations
        )
        yield _at_least_one(
            f"a required notification whose time overlaps a {kinds}",
            seen,
            f"no required notification fell due while a {kinds} was in force, though the scenario exists for that",
        )


def _hits(fault: RecordedFault, obligation: Obligation) -> bool:
    there = fault.concerns(obligation.operation.key)
    return there and fault.injected_ns <= obligation.deadline_ns and obligation.operation.due_ns <= fault.healed_ns


def _witnesses(history: History) -> Iterator[Need]:
    if history.closed is None:
        return
    yield _at_least_one("a canary", len(history.canaries), "no canary came through the gateway, so nothing shows "
                        "that the harness itself was in time")  # fmt: skip
    yield _at_least_one("a clock sample", len(history.clock), "the clocks were never sampled, so early and late "
                        "cannot be told")  # fmt: skip
