"""Accusations in sentences: let …; then …; however …; where it went: …"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple, assert_never

from duetime.checker.labels import DeliveryViolation, Labelled
from duetime.checker.obligations import Obligation
from duetime.history import NEVER, Delivery, History, RecordedFault

MENTIONED = 3
"""Faults named in one sentence, of those in force at the time."""


class Rule(NamedTuple):
    """The rule that was broken, in the words of one case. since_ns: from when a fault may have had a part in it."""

    let: str
    then: str
    since_ns: int


class Narrator:
    """Tells what happened in seconds since the run's start, and names the faults in force meanwhile."""

    def __init__(self, history: History) -> None:
        self._start_ns = history.started_ns
        self._faults = [fault for fault in history.faults if fault.injected_ns < NEVER]
        self._closed = history.closed
        self._profile = history.plan.profile

    def missed(self, obligation: Obligation, where: str | None, faults: list[RecordedFault]) -> str:
        assert self._closed is not None  # noqa: S101  # nothing is missed before the history is closed
        let = self._accepted(obligation) + self._in_force(faults)
        then = f"it had to be delivered by {self.at(obligation.deadline_ns)}"
        closed = f"before the history was closed at {self.at(self._closed.at_ns)}"
        if self._closed.pending is None:
            rest = "unknown, because the design's own store was not searched"
        else:
            rest = f"still held at the end: {where}" if where else "no trace of it was left in the design's own store"
        return _sentence(let, then, f"the gateway recorded no delivery of it {closed}", rest)

    def accused(self, rule: Rule, labelled: Labelled, faults: list[RecordedFault]) -> str:
        however = f"the gateway recorded {self._delivered(labelled.delivery)}"
        if labelled.obligation and labelled.label == "late":
            however += f", {seconds(labelled.delivery.at_ns - labelled.obligation.ready_ns)} after it was ready"
        return _sentence(rule.let + self._in_force(faults), rule.then, however, "to the recipient")

    def rule(self, accusation: DeliveryViolation, labelled: Labelled) -> Rule:
        """What `labelled` broke, when `accusation` is upheld against it."""
        obligation, first, at_ns = labelled.obligation, labelled.first, labelled.delivery.at_ns
        let = (
            self._accepted(obligation)
            if obligation
            else f"no call to schedule {labelled.delivery.op} stand in the history"
        )
        match accusation:
            case "phantom" | "stale" if obligation:
                return self._unlawful(let, obligation, at_ns)
            case "phantom" | "stale":
                return Rule(let, "nothing might be delivered under that name", at_ns)
            case "duplicate":
                return Rule(let, f"{self._delivered(first)} had to be the only one", first.at_ns)
            case "early" if obligation:
                earliest_ns = obligation.operation.due_ns - self._profile.early_tolerance_ns
                return Rule(let, f"nothing might be delivered before {self.at(earliest_ns)}", at_ns)
            case "late" if obligation:
                return Rule(let, f"it had to be delivered by {self.at(obligation.deadline_ns)}", obligation.ready_ns)
            case "early" | "late":
                raise ValueError(f"{labelled.delivery.op} was never scheduled, so it cannot be {accusation}")
            case _:
                assert_never(accusation)

    def _unlawful(self, let: str, obligation: Obligation, at_ns: int) -> Rule:
        o, by = obligation.operation, obligation.superseded_by
        if o.answer == "fail":
            return Rule(let, "it might never be delivered", at_ns)
        if at_ns < o.invoked_ns or by is None:
            return Rule(let, f"it could not be delivered before it was asked for at {self.at(o.invoked_ns)}", at_ns)
        deed = "cancelled" if by.verb == "cancel" else "rescheduled"
        let += f", and {deed} by {by.op}, acknowledged at {self.at(by.answered_ns)}"
        allowance = seconds(self._profile.in_flight_allowance_ns)
        then = f"it might be delivered only within {allowance} of that, if it was already in flight"
        return Rule(let, then, by.invoked_ns)

    def _accepted(self, obligation: Obligation) -> str:
        o = obligation.operation
        answer = {"ok": "acknowledged", "fail": "refused", "info": "never answered"}[o.answer]
        when = f" at {self.at(o.answered_ns)}" if o.answer != "info" else ""
        return f"{o.op} be scheduled for {self.at(o.due_ns)} and {answer}{when}"

    def faults(self, key: str, start_ns: int, end_ns: int) -> list[RecordedFault]:
        """The first few that concern `key` and that, or whose recovery, was going on at some time in between."""
        budgets = self._profile.recovery_budget_ns
        concerning = (fault for fault in self._faults if fault.concerns(key))
        there = (
            fault
            for fault in concerning
            if fault.injected_ns <= end_ns and start_ns <= fault.healed_ns + budgets.get(fault.kind, 0)
        )
        return list(islice(there, MENTIONED))

    def _in_force(self, faults: list[RecordedFault]) -> str:
        return "".join(f", and {f} be in force from {self.at(f.injected_ns)} to {self.at(f.healed_ns)}" for f in faults)

    def _delivered(self, delivery: Delivery) -> str:
        return f"a delivery by {delivery.worker}, attempt {delivery.attempt}, at {self.at(delivery.at_ns)}"

    def at(self, instant_ns: int) -> str:
        return "the end of the run" if instant_ns >= NEVER else seconds(instant_ns - self._start_ns)


def seconds(span_ns: int) -> str:
    return f"{span_ns / 1e9:.3f} s"


def _sentence(let: str, then: str, however: str, where: str) -> str:
    return f"Let {let}; then {then}; however {however}; where it went: {where}."
