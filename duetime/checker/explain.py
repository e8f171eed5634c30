"""The explanation of one violation: its kind, the times, where the notification is now, and what would fix it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, assert_never, cast

from duetime.checker.labels import DeliveryViolation, Labelled
from duetime.checker.obligations import Obligation
from duetime.checker.wording import RunClock, describe_fault, duration, notification_name, sentence
from duetime.history import NEVER, Delivery, History, Operation, RecordedFault, StoredEntry

MAX_FAULTS: Final = 3
"""The most faults that one explanation names."""

FIXES: Final[Mapping[str, str]] = {
    "missed": "Fix: keep it in a database table until it is delivered, and deliver overdue rows too.",
    "duplicate": "Fix: send an idempotency key that the gateway checks, or deliver at most once and accept losses.",
    "will_repeat": "Fix: send an idempotency key that the gateway checks, and rescue what a dead worker held sooner.",
    "phantom": "Fix: ask the database at delivery time whether the notification is still wanted.",
    "stale": "Fix: ask the database at delivery time which revision is current.",
    "early": "Fix: compare due times with the clock of the database server, not with the worker's.",
    "late": "Fix: look for due notifications more often, or deliver them with more workers.",
}


LOST_COMMIT: Final = (
    "The database acknowledged it and lost it with other commits. Fix: let commits wait for the disk "
    "(synchronous_commit) and for a standby (synchronous_standby_names), and archive the log for restores; no design "
    "is more durable than its database."
)
LOST_MESSAGE: Final = (
    "The broker acknowledged it and lost it with other messages. Fix: keep it in a database table until it is "
    "delivered; min-replicas-to-write makes the broker refuse what it could lose."
)


class Explainer:
    """Explains the violations of one history."""

    def __init__(self, history: History) -> None:
        self._clock = RunClock(history.started_ns)
        self._faults = [fault for fault in history.faults if fault.injected_ns < NEVER]
        self._closed = history.closed
        self._profile = history.plan.profile
        self._kept_in_broker = history.plan.kept_in_broker

    def faults(self, key: str, start_ns: int, end_ns: int) -> list[RecordedFault]:
        """The first `MAX_FAULTS` faults on `key` in force, or in their recovery time, between the two instants."""
        in_force = (
            fault
            for fault in self._faults
            if fault.concerns(key) and fault.injected_ns <= end_ns and start_ns <= self._recovered_ns(fault)
        )
        return list(islice(in_force, MAX_FAULTS))

    @property
    def acknowledged_within_ns(self) -> int:
        """A fault up to this long after a delivery may have kept its worker from acknowledging it."""
        return self._profile.in_flight_allowance_ns

    @property
    def closed_ns(self) -> int:
        assert self._closed is not None  # noqa: S101  # nothing is left over before the history is closed
        return self._closed.at_ns

    def will_repeat(
        self, obligation: Obligation, last: Delivery, entry: StoredEntry, faults: Sequence[RecordedFault]
    ) -> str:
        """`entry`: what the design's store still held after the `last` delivery."""
        came = f"It was delivered by {last.worker} at {self._clock.at(last.at_ns)}, and is still held: {entry.where}"
        back = "It is tried again." if entry.back_after_s is None else f"It comes back after {entry.back_after_s:g} s."
        return _joined(
            "will_repeat", self._scheduled(obligation.operation), self._in_force(faults), sentence(came), back
        )

    def missed(self, obligation: Obligation, entry: StoredEntry | None, faults: Sequence[RecordedFault]) -> str:
        """`entry`: what the design's store still held of the notification; None for nothing."""
        assert self._closed is not None  # noqa: S101  # nothing is missed before the history is closed
        lost = ""
        if self._closed.unlisted:
            place = sentence(f"The design's store cannot be listed: {self._closed.unlisted}")
        elif self._closed.pending is None:
            place = "The design's store was not searched."
        elif entry is None and (lost := self._lost_with(obligation.operation)):
            place = ""  # the fix says where it was
        elif entry is None:
            place = "No store of the design holds it any more."
        elif entry.state == "failed":
            place = sentence(f"It failed, and is not tried again: {entry.where}")
        else:
            place = sentence(f"It is still held: {entry.where}")
        never = f"It was not delivered by the end of the run ({self._clock.at(self._closed.at_ns)})."
        scheduled, deadline = self._scheduled(obligation.operation), self._deadline(obligation, faults)
        return _joined("missed", scheduled, deadline, never, place, fix=lost)

    def delivery(self, labelled: Labelled, faults: Sequence[RecordedFault]) -> str:
        """The explanation of a delivery whose label is a violation."""
        label, obligation = cast("DeliveryViolation", labelled.label), labelled.obligation
        at_ns = labelled.delivery.at_ns
        came = f"It was delivered by {labelled.delivery.worker} at {self._clock.at(at_ns)}"
        if obligation is None:
            never = sentence(f"{notification_name(labelled.delivery.op)} was never scheduled")
            came = self._duplicate(labelled) if label == "duplicate" else f"{came}."
            return _joined(label, never, self._in_force(faults), came)
        scheduled, happened = self._scheduled(obligation.operation), self._in_force(faults)
        match label:
            case "phantom" | "stale":
                return _joined(label, scheduled, *self._unlawful(obligation, at_ns, came, happened))
            case "duplicate":
                return _joined(label, scheduled, happened, self._duplicate(labelled))
            case "early":
                before = duration(obligation.operation.due_ns - at_ns)
                return _joined(label, scheduled, happened, f"{came}, {before} before it was due.")
            case "late":
                after = duration(at_ns - obligation.deadline_ns)
                return _joined(label, scheduled, self._deadline(obligation, faults), f"{came}, {after} too late.")
            case _:
                assert_never(label)

    def _scheduled(self, o: Operation) -> str:
        due = f"due at {self._clock.at(o.due_ns)}"
        if o.answer == "info":
            requested = f"was requested at {self._clock.at(o.invoked_ns)} and {due}; the call was never answered"
        else:
            answer = "acknowledged" if o.answer == "ok" else "rejected"
            requested = f"was {answer} at {self._clock.at(o.answered_ns)} and {due}"
        return sentence(f"{notification_name(o.op)} {requested}")

    def _deadline(self, obligation: Obligation, faults: Sequence[RecordedFault]) -> str:
        its_deadline = f"its deadline was {self._clock.at(obligation.deadline_ns)}"
        if obligation.deadline_ns - obligation.ready_ns > self._profile.lateness_limit_ns:
            limit = duration(self._profile.lateness_limit_ns)
            return sentence(f"{self._clauses(faults)}, so with the lateness limit of {limit} {its_deadline}")
        return f"{self._in_force(faults)} {sentence(its_deadline)}".lstrip()

    def _unlawful(self, obligation: Obligation, at_ns: int, came: str, happened: str) -> Sequence[str]:
        o, by = obligation.operation, obligation.superseded_by
        if o.answer == "fail":
            return happened, f"{came}."
        if at_ns < o.invoked_ns or by is None:
            return happened, f"{came}, {duration(o.invoked_ns - at_ns)} before it was requested."
        newer = "The cancel" if by.verb == "cancel" else f"Revision {by.revision}"
        after, allowed = duration(at_ns - by.answered_ns), duration(self._profile.in_flight_allowance_ns)
        return (
            happened,
            f"{newer} was acknowledged at {self._clock.at(by.answered_ns)}.",
            f"{came}, {after} after that; a delivery in flight is allowed {allowed}.",
        )

    def _duplicate(self, labelled: Labelled) -> str:
        first, again = labelled.first, labelled.delivery
        between_ns = again.at_ns - first.at_ns
        when = f"at {self._clock.at(again.at_ns)}" if between_ns >= 1_000_000_000 else f"{duration(between_ns)} later"
        return (
            f"It was delivered by {first.worker} at {self._clock.at(first.at_ns)} and again {when} by {again.worker}."
        )

    def _in_force(self, faults: Sequence[RecordedFault]) -> str:
        return sentence(self._clauses(faults)) if faults else ""

    def _clauses(self, faults: Sequence[RecordedFault]) -> str:
        return " and ".join(describe_fault(fault, self._clock) + self._recovery(fault) for fault in faults)

    def _lost_with(self, o: Operation) -> str:
        """Return the sentences about the store that acknowledged `o` and may have lost it; empty if none may have."""
        may_have = (fault for fault in self._faults if fault.may_have_lost(o.invoked_ns, o.answered_ns))
        kinds = {fault.kind for fault in may_have} if o.answer == "ok" else set()
        if kinds - {"broker_failover"}:
            return LOST_COMMIT
        return LOST_MESSAGE if kinds and self._kept_in_broker else ""

    def _recovery(self, fault: RecordedFault) -> str:
        budget_ns = self._profile.recovery_budget_ns.get(fault.kind, 0)
        if not budget_ns or fault.healed_ns >= NEVER or fault.kind in self._profile.non_excusing_faults:
            return ""
        return f" (plus {duration(budget_ns)} to recover)"

    def _recovered_ns(self, fault: RecordedFault) -> int:
        return fault.healed_ns + self._profile.recovery_budget_ns.get(fault.kind, 0)


def _joined(label: str, *sentences: str, fix: str = "") -> str:
    return " ".join([sentence(label.replace("_", " ")), *filter(None, sentences), fix or FIXES[label]])
