"""The rules for one delivery, in order of precedence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from duetime.checker.obligations import Obligation
from duetime.history import Delivery, RecordedProfile

DeliveryViolation = Literal["phantom", "stale", "duplicate", "early", "late"]
Lawful = Literal["recovered", "zombie", "excused", "on_time"]
Unproven = Literal["unknown_early", "unknown_late", "unproven"]
Label = DeliveryViolation | Lawful | Unproven

DELIVERY_VIOLATIONS: Final = get_args(DeliveryViolation)
"""In order of precedence: a delivery that breaks several rules is labelled by the first."""

VIOLATIONS: Final = ("missed", "duplicate", "will_repeat", "phantom", "stale", "early", "late")
"""Every way to break a rule, in the order in which tables and summaries show them."""

LABELS: Final = (*DELIVERY_VIOLATIONS, *get_args(Lawful), *get_args(Unproven))


@dataclass(slots=True)
class Labelled:
    """One delivery with every label that fits it.

    obligation: None for an op that was never scheduled. first: the first delivery of the op, possibly this one.
    label, also: the first label that fits, and the others.
    """

    delivery: Delivery
    obligation: Obligation | None
    first: Delivery
    label: Label
    also: tuple[Label, ...]


def label(
    deliveries: Iterable[Delivery], obligations: Mapping[str, Obligation], *, profile: RecordedProfile
) -> list[Labelled]:
    """Label `deliveries`, which are sorted by time."""
    rules = _Rules(profile)
    first: dict[str, Delivery] = {}
    labelled = []
    for delivery in deliveries:
        first_delivery = first.setdefault(delivery.op, delivery)
        obligation = obligations.get(delivery.op)
        fitting = rules.fitting(delivery.at_ns, obligation, duplicate=first_delivery is not delivery)
        labelled.append(Labelled(delivery, obligation, first_delivery, fitting[0], tuple(fitting[1:])))
    return labelled


class _Rules:
    def __init__(self, profile: RecordedProfile) -> None:
        self._early_ns = profile.early_tolerance_ns
        self._limit_ns = profile.lateness_limit_ns
        self._in_flight_ns = profile.in_flight_allowance_ns

    def fitting(self, at_ns: int, obligation: Obligation | None, *, duplicate: bool) -> list[Label]:
        """Every label that fits, in order of precedence; never empty."""
        if obligation is None:
            return ["phantom", "duplicate"] if duplicate else ["phantom"]
        found: list[Label] = []
        superseded = self._superseded(at_ns, obligation)
        if obligation.operation.answer == "fail" or at_ns < obligation.operation.invoked_ns or superseded == "phantom":
            found.append("phantom")
        if superseded == "stale":
            found.append("stale")
        if duplicate:
            found.append("duplicate")
        if at_ns < obligation.operation.due_ns - self._early_ns:
            found.append("early")
        if obligation.operation.answer == "info":
            found.append("recovered")
        found += self._lateness(at_ns, obligation, zombie=superseded == "zombie")
        return found or ["on_time"]

    def _superseded(self, at_ns: int, obligation: Obligation) -> Label | None:
        """The label of a delivery after a cancel or newer revision: lawful only while it may have been in flight."""
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
