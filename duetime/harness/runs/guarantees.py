"""Compares the violations of a run with what its design guarantees."""

from __future__ import annotations

from math import inf

from duetime.checker import DELIVERY_VIOLATIONS, VIOLATIONS, Results
from duetime.harness.plan.plan import Plan
from duetime.interface import Guarantees

NON_INTERRUPTING = {
    "deploy",
    "worker_added",
    "worker_removed",
    "clock",
    "old_transaction",
    "gateway_slow",
    "client_kill",
}
"""Faults that interrupt no delivery: both at-least-once and at-most-once hold under them."""


def allowed_violations(guarantees: Guarantees, plan: Plan) -> set[str]:
    """The violations that `guarantees` do not exclude under the faults and settings of `plan`."""
    allowed: set[str] = set()
    kinds = {fault.kind for fault in plan.faults}
    if guarantees.delivery == "nothing":
        allowed |= {"missed", "duplicate", "late"}
    elif kinds - NON_INTERRUPTING:
        allowed.add("duplicate" if guarantees.delivery == "at_least_once" else "missed")
    if not guarantees.has_cancel or (not guarantees.cancels and kinds):
        allowed |= {"phantom", "stale"}
    if not guarantees.transactional and "client_kill" in kinds:
        allowed.add("missed")
    if not guarantees.cancels_transactionally and "client_kill" in kinds:
        allowed |= {"phantom", "stale"}
    if guarantees.as_durable_as == "broker":
        if "broker_kill" in kinds and plan.environment.broker_persistence != "aof":
            allowed |= {"missed", "duplicate"}
        if plan.longest_horizon_s() > plan.environment.visibility_timeout_s:
            allowed.add("duplicate")
    if plan.profile.measures_capacity:
        allowed |= {"late", "missed"}
    if guarantees.due_by in ("workers", "either") and "clock" in kinds:
        allowed |= {"early", "late"}
    if guarantees.recovers_within_s > plan.profile.recovery_budget_s.get("kill", inf):
        allowed.add("late")
    if guarantees.punctual_to_s > plan.profile.lateness_limit_s:
        allowed.add("late")
    if guarantees.early_by_s > plan.profile.early_tolerance_s:
        allowed.add("early")
    return allowed


def violations_in(results: Results) -> set[str]:
    """Every rule broken in `results`; of a delivery that broke several, each that no fault explains."""
    found = {label for label in VIOLATIONS if results.counts[label]}
    for delivery in results.labelled:
        if delivery.label in DELIVERY_VIOLATIONS:
            # Lateness beside another violation may be the fault's, so it counts only as the first label.
            found |= set(delivery.also) & (set(DELIVERY_VIOLATIONS) - {"late"})
    return found


def within_guarantees(guarantees: Guarantees, plan: Plan, results: Results) -> bool | None:
    """Return True if the violations in `results` are allowed; None if the results prove nothing."""
    return None if results.outcome == "unknown" else violations_in(results) <= allowed_violations(guarantees, plan)
