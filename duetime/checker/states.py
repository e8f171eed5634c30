"""The final state of each scheduled revision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, get_args

from duetime.checker.evidence import Evidence
from duetime.checker.obligations import Obligation
from duetime.history import NEVER

State = Literal["delivered", "will_repeat", "missed", "indeterminate", "none_due", "open"]
STATES: Final = get_args(State)


def states(
    obligations: Mapping[str, Obligation],
    *,
    delivered: Collection[str],
    will_repeat: Collection[str],
    awaits_recovery: Collection[str],
    evidence: Evidence,
) -> dict[str, State]:
    """The state of each obligation, by op.

    delivered: the ops with at least one delivery. will_repeat: those that the store still has.
    awaits_recovery: the ops that the store may hand out after the end of the run, as its documentation says.
    """

    def state(op: str, obligation: Obligation) -> State:
        if op in will_repeat:
            return "will_repeat"
        if op in delivered:
            return "delivered"
        if obligation.required:
            return "missed" if op not in awaits_recovery and evidence.proves_missed(op) else "open"
        return _not_owed(obligation)

    return {op: state(op, obligation) for op, obligation in obligations.items()}


def _not_owed(obligation: Obligation) -> State:
    if obligation.operation.answer == "fail" or obligation.superseded_ns < NEVER:
        return "none_due"
    return "indeterminate"
