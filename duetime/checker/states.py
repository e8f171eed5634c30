"""The final state of each scheduled revision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, get_args

from duetime.checker.evidence import Evidence
from duetime.checker.obligations import Obligation
from duetime.history import NEVER

State = Literal["delivered", "missed", "indeterminate", "none_due", "open"]
STATES: Final = get_args(State)


def states(
    obligations: Mapping[str, Obligation], *, delivered: Collection[str], evidence: Evidence
) -> dict[str, State]:
    """The state of each obligation, by op. `delivered`: the ops with at least one delivery."""
    return {
        op: _state(obligation, delivered=op in delivered, evidence=evidence) for op, obligation in obligations.items()
    }


def _state(obligation: Obligation, *, delivered: bool, evidence: Evidence) -> State:
    if delivered:
        return "delivered"
    if obligation.required:
        return "missed" if evidence.proves_missed(obligation.operation.op) else "open"
    if obligation.operation.answer == "fail" or obligation.superseded_ns < NEVER:
        return "none_due"
    return "indeterminate"
