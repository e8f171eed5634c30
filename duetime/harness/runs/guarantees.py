"""Compares each violation of a run with what its design guarantees, and with the faults that may explain it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, assert_never

from duetime.app.follow_ups import FOLLOW_UPS
from duetime.checker import DELIVERY_VIOLATIONS, Results
from duetime.checker.interruptions import Interruption, Interruptions
from duetime.checker.labels import DeliveryViolation, Labelled
from duetime.checker.obligations import Obligation
from duetime.harness.plan.plan import Plan
from duetime.history import NEVER, Delivery, History, RecordedFault
from duetime.history.records import nanoseconds
from duetime.interface import Guarantees

MAX_NAMED: Final = 3
"""The most violations that are named as not covered."""
MAY_LOSE: Final = {"at_most_once", "once_without_faults"}
MAY_REPEAT: Final = {"at_least_once", "once_without_faults"}
"""Under faults."""
EFFECTS_ONCE: Final = frozenset(follow_up.kind for follow_up in FOLLOW_UPS.values() if follow_up.sets_status)
"""Kinds whose effect, a row's status inside the database, happens once for all revisions of a key."""


def not_covered(guarantees: Guarantees, plan: Plan, history: History, results: Results) -> list[str] | None:
    """The violations that `guarantees` exclude, each as its label and op.

    None if the results prove nothing, or if they show violations and the guarantees are unstated.

    A violation is covered only if the design does not guarantee the contrary under a fault that may be its reason.
    """
    if results.outcome != "fail":
        return None if results.outcome == "unknown" else []
    if guarantees.delivery == "unstated":
        return None
    coverage = _Coverage(guarantees, plan, history, results)
    found = []
    for violation in results.violations:
        missed = violation.label == "missed" and not coverage.missed(results.obligations[violation.op])
        if missed or (violation.label == "will_repeat" and not coverage.will_repeat(violation.op)):
            found.append(f"{violation.label} {violation.op}")
    for item in results.labelled:
        if item.label in DELIVERY_VIOLATIONS:
            # Lateness beside another violation may be the fault's, so it counts only as the first label.
            others = [label for label in DELIVERY_VIOLATIONS if label in item.also and label != "late"]
            broken = [label for label in (item.label, *others) if not coverage.delivery(label, item)]
            found += [f"{label} {item.delivery.op}" for label in broken]
    return found


def explained(results: Results, uncovered: Sequence[str] | None) -> str:
    """The explanation of a run: with an example that no guarantee covers, if there is one, and what else is unknown."""
    wanted = set(uncovered or ())
    examples = [each for each in results.violations if f"{each.label} {each.op}" in wanted]
    text = results.explained(examples or results.violations)
    if results.outcome == "fail" and results.unknown_because:
        text += f" Unknown besides: {'; '.join(results.unknown_because)}."
    return text + remark_on(uncovered)


def remark_on(uncovered: Sequence[str] | None) -> str:
    """The sentence about violations that no guarantee covers; empty if there are none."""
    if not uncovered:
        return ""
    more = f" and {len(uncovered) - MAX_NAMED} more" if len(uncovered) > MAX_NAMED else ""
    return f" Not covered by a guarantee: {', '.join(uncovered[:MAX_NAMED])}{more}."


class _Coverage:
    """What `guarantees` cover in one history."""

    def __init__(self, guarantees: Guarantees, plan: Plan, history: History, results: Results) -> None:
        self._guarantees, self._plan = guarantees, plan
        self._profile = history.plan.profile
        self._interruptions = Interruptions(history)
        self._closed = history.closed
        self._faults = [fault for fault in history.faults if fault.injected_ns < NEVER]
        self._size_ns = {fault.fault: abs(nanoseconds(fault.size_s)) for fault in plan.faults}
        # Only of these, because a large run has a million.
        repeated = {item.delivery.op for item in results.labelled if "duplicate" in (item.label, *item.also)}
        repeated |= results.ops_with("will_repeat")
        self._deliveries: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in history.deliveries:
            if delivery.op in repeated:
                self._deliveries[delivery.op].append(delivery)
        superseded = [item for item in results.labelled if {"zombie", "stale"} & {item.label, *item.also}]
        self._superseded_on: dict[str, list[Labelled]] = defaultdict(list)
        for item in superseded:
            self._superseded_on[item.delivery.op.rpartition("/")[0]].append(item)
        self._recovers_ns = nanoseconds(guarantees.recovers_within_s)
        self._punctual_ns = nanoseconds(guarantees.punctual_to_s)

    def missed(self, obligation: Obligation) -> bool:
        guarantees, o = self._guarantees, obligation.operation
        if guarantees.delivery == "nothing" or self._plan.profile.measures_capacity:
            return True
        # The whole time in which a worker may have held it: a library may take it long before it is due.
        until_ns = max(obligation.deadline_ns, obligation.ready_ns + self._punctual_ns)
        held_up = list(self._interruptions.during(o.key, o.invoked_ns, until_ns))
        if guarantees.delivery in MAY_LOSE and held_up:
            return True
        if self._awaits_recovery(o.op, held_up):
            return True
        if self._lost_by_store(o.invoked_ns, o.answered_ns) or self._in_two_databases(o.invoked_ns, until_ns):
            return True
        if self._lost_by_broker(o.invoked_ns, until_ns) or self._effect_of_an_older_revision(obligation):
            return True
        return not guarantees.transactional and self._client_killed_in(o.invoked_ns, o.answered_ns)

    def _awaits_recovery(self, op: str, held_up: Sequence[Interruption]) -> bool:
        """Return True if the store still holds `op`, and the run ended before the recovery of what held it up.

        The checker leaves open what was hit before its deadline; this one was hit while it was allowed to be late.
        """
        if not self._closed or not self._recovers_ns:
            return False
        entry, closed_ns = (self._closed.pending or {}).get(op), self._closed.at_ns
        if entry is None or entry.state == "failed":
            return False
        return any(one.end_ns + self._recovers_ns > closed_ns for one in held_up)

    def _effect_of_an_older_revision(self, obligation: Obligation) -> bool:
        """Return True if the row's status was set by an older revision, in a delivery that is covered.

        The statement of the newer one then finds nothing to do and leaves no record, although it was executed.
        """
        o = obligation.operation
        if o.key.partition(":")[0] not in EFFECTS_ONCE:
            return False
        older = [
            item
            for item in self._superseded_on[o.key]
            if item.obligation and item.obligation.operation.revision < o.revision
        ]
        return any("stale" not in (item.label, *item.also) or self._superseded(item) for item in older)

    def will_repeat(self, op: str) -> bool:
        delivery, made = self._guarantees.delivery, self._deliveries[op]
        if made and self._closed and self._restored_by_broker(made[0].at_ns, self._closed.at_ns):
            return True
        if delivery in MAY_REPEAT:
            return any(one for each in made for one in self._interruptions.of(each))
        return delivery == "nothing"

    def delivery(self, label: str, item: Labelled) -> bool:
        """Return True if `label`, a violation of the delivery `item`, is covered."""
        violation: DeliveryViolation = label  # type: ignore[assignment]  # one of DELIVERY_VIOLATIONS
        match violation:
            case "duplicate":
                return self._duplicate(item)
            case "phantom" | "stale":
                return self._superseded(item)
            case "early":
                return self._early(item)
            case "late":
                return self._late(item)
            case _:
                assert_never(violation)

    def _duplicate(self, item: Labelled) -> bool:
        again, guarantees = item.delivery, self._guarantees
        if guarantees.delivery == "nothing":
            return True
        deliveries = self._deliveries[again.op]
        earlier = deliveries[: deliveries.index(again)]
        if guarantees.delivery in MAY_REPEAT and self._interruptions.explain_repeat(earlier, again):
            return True
        if self._lost_by_broker(earlier[0].at_ns, again.at_ns):
            return True
        if self._in_two_databases(again.at_ns, again.at_ns):
            return True
        allowance_ns = self._interruptions.allowance_ns
        if any(self._lost_by_store(each.at_ns - allowance_ns, each.at_ns + allowance_ns) for each in earlier):
            return True
        # A message waits in a worker's memory until it is due, and the broker gives it to another meanwhile.
        visible_ns = nanoseconds(self._plan.environment.visibility_timeout_s)
        held_ns = earlier[0].at_ns - item.obligation.operation.invoked_ns if item.obligation else 0
        return guarantees.as_durable_as == "broker" and held_ns > visible_ns

    def _superseded(self, item: Labelled) -> bool:
        """A delivery after a cancel or a newer revision; one that was never scheduled is not covered."""
        guarantees, obligation, at_ns = self._guarantees, item.obligation, item.delivery.at_ns
        by = obligation.superseded_by if obligation else None
        if obligation is None or by is None or at_ns <= obligation.superseded_ns:
            return False
        if not guarantees.has_cancel:
            return True
        if not guarantees.cancels and any(self._disturbs(fault, by.invoked_ns, at_ns) for fault in self._faults):
            return True
        if self._lost_by_broker(by.invoked_ns, at_ns) or self._lost_by_store(by.invoked_ns, by.answered_ns):
            return True
        transactional = guarantees.cancels_transactionally if by.verb == "cancel" else guarantees.transactional
        return not transactional and self._client_killed_in(by.invoked_ns, by.answered_ns)

    def _early(self, item: Labelled) -> bool:
        obligation, at_ns = item.obligation, item.delivery.at_ns
        if obligation is None:
            return False
        early_ns = obligation.operation.due_ns - at_ns - self._profile.early_tolerance_ns
        if early_ns <= nanoseconds(self._guarantees.early_by_s):
            return True
        slack_ns = self._interruptions.allowance_ns
        return any(early_ns <= size_ns + slack_ns for size_ns in self._wrong_clocks(obligation, at_ns))

    def _late(self, item: Labelled) -> bool:
        obligation, at_ns = item.obligation, item.delivery.at_ns
        if obligation is None or self._guarantees.delivery == "nothing" or self._plan.profile.measures_capacity:
            return True
        o, ready_ns = obligation.operation, obligation.ready_ns
        # A busy machine may use up as much of the time again as in a delivery that is in flight.
        slack_ns = self._interruptions.allowance_ns
        if obligation.excused.healthy(ready_ns, at_ns) <= self._punctual_ns + slack_ns:
            return True
        if any(self._wrong_clocks(obligation, at_ns)) or self._far_from_database(ready_ns, at_ns):
            return True
        if not self._recovers_ns:
            return False
        promised_ns = self._recovers_ns + self._punctual_ns + self._profile.lateness_limit_ns
        held_up = self._interruptions.during(o.key, o.invoked_ns, at_ns)
        if any(at_ns <= max(one.end_ns, ready_ns) + promised_ns for one in held_up):
            return True
        # A dead worker may also have been the one that makes all due jobs available, those of later calls too.
        before = self._interruptions.during(o.key, o.invoked_ns - self._recovers_ns, at_ns)
        return any(at_ns <= one.end_ns + promised_ns for one in before)

    def _lost_by_store(self, start_ns: int, end_ns: int) -> bool:
        """Return True if the store may have lost what it acknowledged in the period: no design is more durable.

        The database, in which every design keeps something; or the broker, if the design keeps its notifications there.
        """
        in_broker = self._guarantees.as_durable_as == "broker"
        faults = (fault for fault in self._faults if in_broker or fault.kind != "broker_failover")
        return any(fault.may_have_lost(start_ns, end_ns) for fault in faults)

    def _in_two_databases(self, start_ns: int, end_ns: int) -> bool:
        """Return True if a worker may have used the old primary of a failover meanwhile.

        It finds there what was delivered since, and does not find what was scheduled since.
        """
        return any(
            fault.kind == "old_primary_returns" and self._disturbs(fault, start_ns, end_ns) for fault in self._faults
        )

    def _far_from_database(self, start_ns: int, end_ns: int) -> bool:
        """Return True if round trips to the database took long: no design guarantees how many it can make."""
        return any(fault.kind == "far_database" and self._disturbs(fault, start_ns, end_ns) for fault in self._faults)

    def _lost_by_broker(self, start_ns: int, end_ns: int) -> bool:
        """Return True if the broker was killed meanwhile, and keeps less than everything."""
        if self._guarantees.as_durable_as != "broker" or self._plan.environment.broker_persistence == "aof":
            return False
        kills = (fault for fault in self._faults if fault.kind == "broker_kill")
        return any(self._disturbs(fault, start_ns, end_ns) for fault in kills)

    def _restored_by_broker(self, acknowledged_ns: int, end_ns: int) -> bool:
        """Return True if the broker was killed after an acknowledgement, and came back with what it had before."""
        if self._guarantees.as_durable_as != "broker" or self._plan.environment.broker_persistence in ("aof", "none"):
            return False
        kills = (fault for fault in self._faults if fault.kind == "broker_kill")
        return any(acknowledged_ns <= fault.healed_ns and fault.injected_ns <= end_ns for fault in kills)

    def _client_killed_in(self, invoked_ns: int, answered_ns: int) -> bool:
        """Return True if a client may have been killed between the commit of this call and its publish."""
        kills = (fault for fault in self._faults if fault.kind == "client_kill")
        return any(
            invoked_ns <= min(kill.observed_ns, kill.healed_ns) and kill.injected_ns <= answered_ns for kill in kills
        )

    def _disturbs(self, fault: RecordedFault, start_ns: int, end_ns: int) -> bool:
        budget_ns = self._profile.recovery_budget_ns.get(fault.kind, 0)
        return fault.injected_ns <= end_ns and start_ns <= min(NEVER, fault.healed_ns + budget_ns)

    def _wrong_clocks(self, obligation: Obligation, at_ns: int) -> Iterator[int]:
        """By how much the workers' clocks were wrong, if the design goes by them; a due time is read at any time."""
        if self._guarantees.due_by in ("workers", "either"):
            for fault in self._faults:
                if fault.kind == "clock" and self._disturbs(fault, obligation.operation.invoked_ns, at_ns):
                    yield self._size_ns.get(fault.fault, 0)
