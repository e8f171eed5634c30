"""Accusations in sentences: let …; then …; however …; where it went: …"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from duetime.checker.labels import Accusation, Labelled
from duetime.checker.promises import Promise
from duetime.history import NEVER, Delivery, Fault, History, Operation


class Narrator:
    """Tells what happened in seconds since the run's first operation, and names the faults in force meanwhile."""

    def __init__(self, history: History) -> None:
        self._start_ns = history.started_ns
        self._faults = history.faults
        self._operations = history.operations
        self._closed = history.closed
        self._profile = history.plan.profile

    def missed(self, promise: Promise, where: str | None) -> str:
        assert self._closed is not None  # noqa: S101  # nothing is missed before the history is closed
        during = self._during(promise.operation.due_ns, promise.deadline_ns)
        then = f"it had to be delivered by {self.at(promise.deadline_ns)}"
        however = (
            f"the gateway recorded no delivery of it before the history was closed at {self.at(self._closed.at_ns)}"
        )
        return _sentence(self._promised(promise) + during, then, however, self._rest(where))

    def accused(self, accusation: Accusation, labelled: Labelled) -> str:
        delivery, promise = labelled.delivery, labelled.promise
        what, since_ns, then = self._rule(accusation, labelled)
        during = self._during(min(since_ns, delivery.at_ns), delivery.at_ns)
        however = f"the gateway recorded {_by(delivery)} at {self.at(delivery.at_ns)}"
        if promise and accusation == "late":
            however += f", {seconds(delivery.at_ns - promise.ready_ns)} after it was ready"
        return _sentence(what + during, then, however, "delivered")

    def _rule(self, accusation: Accusation, labelled: Labelled) -> tuple[str, int, str]:
        """What was promised, since when it counts, and what therefore had to hold."""
        promise, first = labelled.promise, labelled.first
        if promise is None:
            return self._unscheduled(accusation, labelled)
        o, what = promise.operation, self._promised(promise)
        match accusation:
            case "phantom" | "stale":
                return self._unlawful(promise, labelled.delivery.at_ns)
            case "duplicate":
                return (
                    what,
                    first.at_ns,
                    f"{_by(first)} at {self.at(first.at_ns)} had to be the only one",
                )
            case "early":
                earliest = self.at(o.due_ns - self._profile.early_tolerance_ns)
                return what, labelled.delivery.at_ns, f"nothing might be delivered before {earliest}"
            case "late":
                return what, promise.ready_ns, f"it had to be delivered by {self.at(promise.deadline_ns)}"
            case _:
                assert_never(accusation)

    def _unscheduled(self, accusation: Accusation, labelled: Labelled) -> tuple[str, int, str]:
        first = labelled.first
        what = f"no call to schedule {labelled.delivery.op} stand in the history"
        if accusation == "duplicate":
            return (
                what,
                first.at_ns,
                f"{_by(first)} at {self.at(first.at_ns)} had to be the last",
            )
        return what, labelled.delivery.at_ns, "nothing might be delivered under that name"

    def _unlawful(self, promise: Promise, at_ns: int) -> tuple[str, int, str]:
        o, by = promise.operation, promise.superseded_by
        if o.answer == "fail":
            return self._promised(promise), at_ns, "it might never be delivered"
        if at_ns < o.invoked_ns or by is None:
            return (
                self._promised(promise),
                at_ns,
                f"it could not be delivered before it was asked for at {self.at(o.invoked_ns)}",
            )
        deed = "cancelled" if by.verb == "cancel" else "rescheduled"
        what = f"{self._promised(promise)}, and {deed} by {by.op}, acknowledged at {self.at(by.answered_ns)}"
        allowance = seconds(self._profile.in_flight_allowance_ns)
        return (
            what,
            by.answered_ns,
            f"it might be delivered only within {allowance} of that, if it was already in flight",
        )

    def _promised(self, promise: Promise) -> str:
        o = promise.operation
        answer = {"ok": "acknowledged", "fail": "refused", "info": "never answered"}[o.answer]
        when = f" at {self.at(o.answered_ns)}" if o.answered_ns < NEVER and o.answer != "info" else ""
        return f"{o.op} be scheduled for {self.at(o.due_ns)} and {answer}{when}"

    def _during(self, start_ns: int, end_ns: int) -> str:
        faults = self.faults(start_ns, end_ns)
        return "".join(f", and {f} be in force from {self.at(f.injected_ns)} to {self.at(f.healed_ns)}" for f in faults)

    def faults(self, start_ns: int, end_ns: int) -> Iterable[Fault]:
        return [f for f in self._faults if f.injected_ns <= min(end_ns, NEVER - 1) and start_ns <= f.healed_ns]

    def _rest(self, where: str | None) -> str:
        if self._closed is None or self._closed.pending is None:
            return "unknown, because the design's own store was not searched"
        return f"still held at the end: {where}" if where else "no trace of it was left in the design's own store"

    def at(self, instant_ns: int) -> str:
        return "the end of the run" if instant_ns >= NEVER else seconds(instant_ns - self._start_ns)


def seconds(span_ns: int) -> str:
    return f"{span_ns / 1e9:.3f} s"


def evidence(operations: Iterable[Operation], deliveries: Iterable[Delivery], faults: Iterable[Fault]) -> list[str]:
    """Where to look it up: files and line numbers."""
    lines = [line for o in operations for line in (o.line, o.answered_line) if line]
    found = [f"history.jsonl:{line}" for line in sorted(set(lines))]
    found += [f"deliveries.jsonl:{line}" for line in sorted({d.line for d in deliveries})]
    return found + [f"faults.jsonl:{line}" for fault in faults for line in sorted(fault.phases.values())]


def _by(delivery: Delivery) -> str:
    return f"a delivery by {delivery.worker}, attempt {delivery.attempt},"


def _sentence(let: str, then: str, however: str, where: str) -> str:
    return f"Let {let}; then {then}; however {however}; where it went: {where}."
