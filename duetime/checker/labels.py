"""The rules, in order: what may be said of one delivery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from duetime.checker.obligations import Obligation
from duetime.history import Delivery, RecordedProfile

DeliveryViolation = Literal["phantom", "stale", "duplicate", "early", "late"]
Lawful = Literal["recovered", "zombie", "excused", "on_time"]
Doubtful = Literal["unknown_early", "unknown_late", "unproven"]
Label = DeliveryViolation | Lawful | Doubtful

DELIVERY_VIOLATIONS: Final = get_args(DeliveryViolation)
"""In order of precedence: a delivery that breaks several rules is labelled by the first."""

VIOLATIONS: Final = ("missed", "duplicate", "phantom", "stale", "early", "late")
"""Every way to break a rule, in the order in which tables and summaries show them."""

LABELS: Final = (*DELIVERY_VIOLATIONS, *get_args(Lawful), *get_args(Doubtful))


@dataclass(slots=True)
class Labelled:
    """One delivery with every rule that it matches, the first of them first.

    promise: None for an op that was never scheduled. first: the first delivery of the same op, which may be itself.
    """

    delivery: Delivery
    obligation: Obligation | None
    first: Delivery
    label: Label
    also: tuple[Label, ...]


def label(
    deliveries: Iterable[Delivery], obligations: Mapping[str, Obligation], *, profile: RecordedProfile
) -> list[Labelled]:
    """Label `deliveries`, which come in the order of their times."""
    rules = _Rules(profile)
    first: dict[str, Delivery] = {}
    labelled = []
    for delivery in deliveries:
        before = first.setdefault(delivery.op, delivery)
        obligation = obligations.get(delivery.op)
        found = rules.matching(delivery.at_ns, obligation, again=before is not delivery)
        labelled.append(Labelled(delivery, obligation, before, found[0], tuple(found[1:])))
    return labelled


class _Rules:
    def __init__(self, profile: RecordedProfile) -> None:
        self._early_ns = profile.early_tolerance_ns
        self._limit_ns = profile.lateness_limit_ns
        self._in_flight_ns = profile.in_flight_allowance_ns

    def matching(self, at_ns: int, obligation: Obligation | None, *, again: bool) -> list[Label]:
        """Every label that fits, in the order of precedence; never empty."""
        if obligation is None:
            return ["phantom", "duplicate"] if again else ["phantom"]
        found: list[Label] = []
        taken = self._taken_back(at_ns, obligation)
        if obligation.operation.answer == "fail" or at_ns < obligation.operation.invoked_ns or taken == "phantom":
            found.append("phantom")
        if taken == "stale":
            found.append("stale")
        if again:
            found.append("duplicate")
        if at_ns < obligation.operation.due_ns - self._early_ns:
            found.append("early")
        if obligation.operation.answer == "info":
            found.append("recovered")
        found += self._lateness(at_ns, obligation, zombie=taken == "zombie")
        return found or ["on_time"]

    def _taken_back(self, at_ns: int, obligation: Obligation) -> Label | None:
        """Delivered after the key was surely cancelled or rescheduled: unlawful once it can no longer be in flight."""
        by = obligation.superseded_by
        if by is None or at_ns <= obligation.superseded_ns:
            return None
        if obligation.excused.healthy(obligation.superseded_ns, at_ns) <= self._in_flight_ns:
            return "zombie"
        return "phantom" if by.verb == "cancel" else "stale"

    def _lateness(self, at_ns: int, obligation: Obligation, *, zombie: bool) -> list[Label]:
        found: list[Label] = ["zombie"] if zombie else []
        if at_ns - obligation.ready_ns <= self._limit_ns:
            return found
        if obligation.excused.healthy(obligation.ready_ns, at_ns) > self._limit_ns:
            return ["late", *found]
        return [*found, "excused"]
