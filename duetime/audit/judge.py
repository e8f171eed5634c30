"""Judge the rows of some keys with the checker's rules.

Everything is judged twice: with the recorded times as they are, and with each of them widened by the clock tolerance.
What breaks a rule in both readings is a violation. What breaks one only in the first is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from duetime.audit.assign import deliveries_of
from duetime.audit.keys import Key, Revisions, obligations
from duetime.audit.rows import BadRows
from duetime.audit.tally import Example, Tally
from duetime.audit.terms import Reading, Terms
from duetime.audit.wording import Witness
from duetime.checker.labels import DELIVERY_VIOLATIONS, Label, Labelled, label
from duetime.checker.obligations import Obligation
from duetime.history import NEVER, Delivery

WITHIN_TOLERANCE: Final[Mapping[str, Label]] = {"early": "unknown_early", "late": "unknown_late"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What is known about both sources as a whole.

    from_ns, to_ns: between them every delivery is in the data. is_first, is_last: that is so only if they are the first
    and the last delivery of all. now_ns: when the data was read, at the latest.
    """

    revisions: Revisions
    cancels: bool
    bad_promised: BadRows
    bad_delivered: BadRows
    from_ns: int
    to_ns: int
    is_first: bool = False
    is_last: bool = False
    now_ns: int = NEVER


class Judge:
    """Judges keys, and counts in a `Tally`."""

    def __init__(self, terms: Terms, data: Data, tally: Tally, witness: Witness) -> None:
        self._terms, self._data, self._tally, self._witness = terms, data, tally, witness
        self._complete = "complete" in terms.assumed
        self._recorded = Reading(terms, tolerance_ns=0)
        self._tolerant = Reading(terms, tolerance_ns=terms.clock_tolerance_ns)

    def judge(self, keys: Sequence[Key]) -> None:
        """Judge all rows of `keys`."""
        revisions, early_ns = self._data.revisions, self._tolerant.profile.early_tolerance_ns
        recorded = obligations(keys, self._recorded, revisions=revisions)
        deliveries = {
            key.name: deliveries_of(key, recorded, revisions=revisions, early_ns=early_ns)
            for key in keys
            if key.deliveries
        }
        labelled = _label(deliveries.values(), recorded, self._recorded)
        delivered = {item.delivery.op: item.first.at_ns for item in labelled}
        suspects = {_key_of(item.delivery) for item in labelled if item.label in DELIVERY_VIOLATIONS}
        suspects |= {
            obligation.operation.key
            for op, obligation in recorded.items()
            if obligation.required and op not in delivered
        }
        again = [key for key in keys if key.name in suspects]
        tolerant = obligations(again, self._tolerant, revisions=revisions)
        labelled_again = _label((deliveries[key.name] for key in again if key.deliveries), tolerant, self._tolerant)
        tolerant_of = {item.delivery.line: item for item in labelled_again}
        by_name = {key.name: key for key in keys}
        for item in labelled:
            self._delivery(by_name[_key_of(item.delivery)], item, tolerant_of.get(item.delivery.line, item))
        for key in keys:
            self._key(key, recorded, tolerant, delivered)

    def _delivery(self, key: Key, recorded: Labelled, tolerant: Labelled) -> None:
        tally = self._tally
        obligation, at_ns = recorded.obligation, recorded.delivery.at_ns
        tally.deliveries += 1
        if obligation is not None:
            tally.matched += 1
            if obligation.operation.answer == "ok" and recorded.first is recorded.delivery:
                late_ns = max(0, at_ns - obligation.ready_ns)
                tally.lateness.add(late_ns)
                tally.hours.add(obligation.ready_ns, late_ns)
        if recorded.label not in DELIVERY_VIOLATIONS:
            tally.counts[recorded.label] += 1
            if recorded.label == "recovered" and self._perhaps_late(recorded):
                contradictory = key.contradictory and key.position(recorded.delivery.op) in key.contradictory
                self._unknown("deliveries", "contradictory" if contradictory else "no accepted time", key, recorded)
            return
        broken = [one for one in (tolerant.label, *tolerant.also) if one in DELIVERY_VIOLATIONS]
        reasons = [self._unproven(one, key, tolerant) for one in broken]
        if None in reasons:
            proven = broken[reasons.index(None)]
            tally.counts[proven] += 1
            if tally.wants(proven, at_ns):
                tally.add_example(proven, self._example(proven, key, tolerant))
            return
        label = "unproven" if broken else WITHIN_TOLERANCE.get(recorded.label, "unproven")
        tally.counts[label] += 1
        self._unknown("deliveries", reasons[0] if reasons and reasons[0] else "tolerance", key, recorded)

    def _perhaps_late(self, item: Labelled) -> bool:
        obligation = item.obligation
        assert obligation is not None  # noqa: S101  # the label says so
        healthy_ns = obligation.excused.healthy(obligation.operation.due_ns, item.delivery.at_ns)
        return item.first is item.delivery and healthy_ns > self._recorded.profile.lateness_limit_ns

    def _unproven(self, violation: str, key: Key, item: Labelled) -> str | None:
        """The reason why the data does not prove `violation`; None if it does."""
        data, obligation = self._data, item.obligation
        if key.ambiguous and key.position(item.delivery.op) in key.ambiguous:
            return "contradictory"
        if obligation is None and not (violation == "duplicate" and data.revisions.matched):
            if not self._complete:
                return "no promise"
        elif not data.revisions.matched:
            if len(key.promises) > 1 and violation != "duplicate":
                return "several"
            # No delivery in time is a violation, whichever promise the first one belongs to.
            if not self._complete and (violation != "late" or item.first is not item.delivery):
                return "other promise"
        if (violation != "duplicate" or not data.revisions.matched) and data.bad_promised.concern(key.name):
            return "bad rows"
        if violation == "late" and data.bad_delivered.concern(key.name):
            return "bad rows"
        if violation == "late" and obligation and obligation.operation.due_ns < self._first_due_ns(self._tolerant):
            return "edge"
        return None

    def _key(
        self,
        key: Key,
        recorded: Mapping[str, Obligation],
        tolerant: Mapping[str, Obligation],
        delivered: Mapping[str, int],
    ) -> None:
        tally, data = self._tally, self._data
        tally.promises += len(key.promises)
        tally.repeated += key.repeated
        several = not data.revisions.matched and len(key.promises) > 1
        tally.several_without_revision += several
        left = self._surely_missed(key, tolerant) if several else len(key.promises)
        in_order = range(len(key.promises))
        for position in sorted(in_order, key=lambda at: key.promises[at].due_ns or 0) if several else in_order:
            op = key.op(position)
            obligation = recorded[op]
            owed = self._owed(obligation, delivered.get(op))
            tally.owed += owed
            if op in delivered:
                tally.counts["delivered"] += 1
                tally.owed_delivered += owed
                continue
            state, reason = self._undelivered(key, position, obligation, tolerant.get(op))
            if state == "missed" and not left:
                state, reason = "indeterminate", "several"
            left -= state == "missed"
            tally.counts[state] += 1
            if state == "missed":
                tally.hours.add_missed(obligation.ready_ns)
            kind = "missed" if state == "missed" else f"promises {reason}"
            if reason:
                tally.unknown[kind] += 1
            if (reason or state == "missed") and tally.wants(kind, obligation.operation.due_ns):
                shown = tolerant.get(op, obligation)
                tally.add_example(kind, self._witness.promise(state, key.name, key.promises[position], shown))

    def _owed(self, obligation: Obligation, delivered_ns: int | None) -> bool:
        """Return True if a delivery was owed, also if the promise was cancelled or replaced soon after it."""
        if delivered_ns is None:
            return obligation.required and self._inside(obligation, self._recorded)
        if obligation.operation.due_ns < self._data.from_ns:
            return False
        lawful_ns = obligation.operation.due_ns - self._recorded.profile.early_tolerance_ns
        return obligation.required or lawful_ns <= delivered_ns <= obligation.superseded_ns < NEVER

    def _undelivered(
        self, key: Key, position: int, recorded: Obligation, tolerant: Obligation | None
    ) -> tuple[str, str]:
        """The state of a promise without delivery, and the reason if it is unknown."""
        data, promise = self._data, key.promises[position]
        if not recorded.required:
            if recorded.superseded_ns < NEVER and recorded.superseded_ns <= recorded.deadline_ns:
                return "none_due", ""
            latest_ns = data.to_ns - self._recorded.profile.lateness_limit_ns
            if not self._first_due_ns(self._tolerant) <= recorded.operation.due_ns <= latest_ns:
                return "open", self._perhaps_lost(recorded)
            if recorded.operation.answer == "ok":
                return "indeterminate", "concurrent"
            silent = promise.accepted_ns is None and position not in key.contradictory
            return "indeterminate", "no accepted time" if silent else "contradictory"
        assert tolerant is not None  # noqa: S101  # an owed promise without a delivery makes its key a suspect
        if not self._inside(tolerant, self._tolerant):
            return "open", self._perhaps_lost(recorded)
        if not tolerant.required:
            return "indeterminate", "tolerance"
        if data.bad_promised.concern(key.name) or data.bad_delivered.concern(key.name):
            return "indeterminate", "bad rows"
        if not data.cancels and "no-cancels" not in self._terms.assumed:
            return "indeterminate", "no cancels"
        return "missed", ""

    def _perhaps_lost(self, obligation: Obligation) -> str:
        """The reason why an open promise is unknown: only deliveries show from when to when there should be some."""
        data, due_ns = self._data, obligation.operation.due_ns
        if data.is_first and due_ns < data.from_ns:
            return "no from"
        was_due = due_ns + self._recorded.profile.lateness_limit_ns < data.now_ns
        return "no to" if data.is_last and data.to_ns < due_ns and was_due else ""

    def _surely_missed(self, key: Key, tolerant: Mapping[str, Obligation]) -> int:
        """How many promises of a key without revisions are missed, whichever deliveries belong to which."""
        owed = [tolerant[key.op(position)] for position in range(len(key.promises)) if key.op(position) in tolerant]
        return max(0, sum(one.required and self._inside(one, self._tolerant) for one in owed) - len(key.deliveries))

    def _inside(self, obligation: Obligation, reading: Reading) -> bool:
        """Return True if every delivery that could have met `obligation` is in the data."""
        due_ns = obligation.operation.due_ns
        return self._first_due_ns(reading) <= due_ns and obligation.deadline_ns <= self._data.to_ns

    def _first_due_ns(self, reading: Reading) -> int:
        """The earliest due time of which every lawful delivery is in the data, also an early one."""
        return self._data.from_ns + reading.profile.early_tolerance_ns

    def _unknown(self, what: str, reason: str, key: Key, item: Labelled) -> None:
        kind = f"{what} {reason}"
        self._tally.unknown[kind] += 1
        if self._tally.wants(kind, item.delivery.at_ns):
            self._tally.add_example(kind, self._example(item.label, key, item))

    def _example(self, label: str, key: Key, item: Labelled) -> Example:
        op = item.delivery.op
        at = key.position(op)
        revision = int(op.rpartition("/")[2]) if self._data.revisions.matched else None
        return self._witness.delivery(label, key.name, None if at is None else key.promises[at], revision, item)


def _label(deliveries: Iterable[list[Delivery]], among: Mapping[str, Obligation], reading: Reading) -> list[Labelled]:
    return label(sorted(chain.from_iterable(deliveries)), among, profile=reading.profile)


def _key_of(delivery: Delivery) -> str:
    return delivery.op.rpartition("/")[0]
