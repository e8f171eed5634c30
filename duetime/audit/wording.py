"""Examples in plain words, and the reasons why something is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from duetime.audit.rows import Promised
from duetime.audit.tally import Example
from duetime.audit.terms import Terms
from duetime.audit.times import shown, span
from duetime.checker.labels import Labelled
from duetime.checker.obligations import Obligation
from duetime.history import NEVER

REASONS: Final[Mapping[str, str]] = {
    "tolerance": "break a rule by less than the clock tolerance",
    "no promise": "have no promise in the data; export their promises too, or say with --assume complete that no "
    "promise is missing from the data",
    "other promise": "may belong to another promise of their key that is not in the data; select a revision in both "
    "sources, or say --assume complete",
    "several": "are of keys with several promises, and without a revision in both sources nothing shows which "
    "delivery belongs to which promise",
    "bad rows": "are of keys whose rows were skipped as bad",
    "edge": "are of promises due before the deliveries begin",
    "no accepted time": "have no accepted time; select it, or say --assume accepted-early",
    "no cancels": "were not delivered, and no column shows whether they were cancelled; select cancelled_at, or say "
    "--assume no-cancels",
    "contradictory": "have rows that contradict one another",
    "concurrent": "were cancelled or replaced at about the same time, or perhaps by a row whose time is unknown",
    "no from": "were due before the first delivery; say with --from since when every delivery is in the data",
    "no to": "were due after the last delivery; say with --to until when every delivery is in the data",
}
"""What follows "3 promises" or "3 deliveries"."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Writes the examples of one audit. promised, delivered: the names of the sources."""

    terms: Terms
    promised: str
    delivered: str
    zone: ZoneInfo | None
    to_ns: int

    def promise(self, label: str, key: str, promise: Promised, obligation: Obligation) -> Example:
        """The example of a promise without a delivery."""
        until = f" It had until {self._at(obligation.deadline_ns)}{self._outage(obligation)}."
        text = (
            f"{self._promised(promise)}{until if obligation.deadline_ns < NEVER else ''} "
            f"No delivery by {self._at(self.to_ns)}, where the data ends."
        )
        at_ns = min(obligation.deadline_ns, obligation.operation.due_ns + self.terms.lateness_limit_ns)
        return Example(at_ns, key, promise.revision, label, (f"{self.promised}:{promise.line}",), text)

    def delivery(self, label: str, key: str, promise: Promised | None, revision: int | None, item: Labelled) -> Example:
        """The example of a delivery."""
        evidence = [f"{self.promised}:{promise.line}"] if promise else []
        obligation = item.obligation
        by = obligation.superseded_by if obligation else None
        if by and (not promise or by.line != promise.line):
            evidence.append(f"{self.promised}:{by.line}")
        if item.first is not item.delivery:
            evidence.append(f"{self.delivered}:{item.first.line}")
        evidence.append(f"{self.delivered}:{item.delivery.line}")
        sentences = [self._promised(promise) if promise else "No promise in the data.", *self._happened(item)]
        return Example(item.delivery.at_ns, key, revision, label, tuple(evidence), " ".join(sentences))

    def _happened(self, item: Labelled) -> list[str]:
        obligation, at_ns = item.obligation, item.delivery.at_ns
        came = f"Delivered {self._at(at_ns)}"
        if item.first is not item.delivery:
            again = f"and again {self._at(at_ns)}, {span(at_ns - item.first.at_ns)} later."
            came = f"Delivered {self._at(item.first.at_ns)} {again}"
        elif obligation and at_ns < obligation.operation.due_ns:
            came += f", {span(obligation.operation.due_ns - at_ns)} before it was due."
        elif obligation and obligation.deadline_ns < at_ns:
            came += f", {span(at_ns - obligation.ready_ns)} after it was due{self._outage(obligation)}."
        else:
            came += "."
        if obligation and obligation.superseded_by and at_ns > obligation.superseded_ns:
            by = obligation.superseded_by
            what = "Cancelled" if by.verb == "cancel" else f"Replaced by revision {by.revision}"
            return [
                f"{what} {self._at(obligation.superseded_ns)}, {span(at_ns - obligation.superseded_ns)} before the "
                f"delivery; in flight is allowed {span(self.terms.in_flight_ns)}.",
                came,
            ]
        return [came]

    def _promised(self, promise: Promised) -> str:
        accepted = "Accepted at an unknown time"
        if promise.accepted_ns is not None:
            accepted = f"Accepted {self._at(promise.accepted_ns)}"
        return f"{accepted}, due {self._at(promise.due_ns or 0)}."

    def _outage(self, obligation: Obligation) -> str:
        """A clause about an outage that moved the deadline."""
        plain_ns = obligation.ready_ns + self.terms.lateness_limit_ns
        return (
            " (later because of an outage)" if obligation.deadline_ns - plain_ns > self.terms.clock_tolerance_ns else ""
        )

    def _at(self, instant_ns: int) -> str:
        return shown(instant_ns, self.zone)
