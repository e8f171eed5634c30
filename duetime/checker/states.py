"""What became of each scheduled revision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, get_args

from duetime.checker.evidence import Doubts
from duetime.checker.obligations import Promise
from duetime.history import NEVER

State = Literal["delivered", "missed", "indeterminate", "none_due", "open"]
STATES: Final = get_args(State)


def states(promises: Mapping[str, Promise], *, delivered: Collection[str], doubts: Doubts) -> dict[str, State]:
    return {op: _state(promise, delivered=op in delivered, doubts=doubts) for op, promise in promises.items()}


def _state(promise: Promise, *, delivered: bool, doubts: Doubts) -> State:
    if delivered:
        return "delivered"
    if promise.required:
        return "missed" if doubts.missed(promise.operation.op) else "open"
    if promise.operation.answer == "fail" or promise.superseded_ns < NEVER:
        return "none_due"
    return "indeterminate"
