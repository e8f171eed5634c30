"""A scenario: everything about a run that is decided before it, except the design and the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from duetime.faults.fault import FAULT_KINDS
from duetime.harness.plan.plan import Environment, Plan, PlannedFault, PlannedOperation, Profile
from duetime.harness.plan.slow import slowed

POLL_INTERVAL_S = 1.0
REMINDER_LEAD_S = 10.0
"""One minute of the application is one second of a run: reminders ten minutes ahead, a poll each minute."""

LATENESS_LIMIT_S = POLL_INTERVAL_S + 1.0
"""One poll interval, which a poller may use up, and one second for deliveries and a busy machine."""

DEFAULT_PROFILE = Profile(lateness_limit_s=LATENESS_LIMIT_S)
DEFAULT_ENVIRONMENT = Environment()
SIDE_BY_SIDE = 5
"""Concurrent runs on two cores. With nine, restarting all their workers took longer than most faults last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Makes the same plan for every design, one for each seed.

    what: what happens, in a sentence. demonstrates: the lesson. hardest_for: the design that it is hardest for.
    side_by_side: how many designs can run through it at once without disturbing one another.
    slow: how many times as long its plan takes.
    """

    name: str
    what: str
    demonstrates: str
    hardest_for: str
    workers: int = 1
    operations: Callable[[Random], list[PlannedOperation]]
    faults: tuple[PlannedFault, ...] = ()
    profile: Profile = DEFAULT_PROFILE
    environment: Environment = DEFAULT_ENVIRONMENT
    side_by_side: int = SIDE_BY_SIDE
    slow: float = 1.0

    def plan(self, seed: int) -> Plan:
        """The plan for `seed`."""
        budgets: dict[str, float] = {fault.kind: FAULT_KINDS[fault.kind].recovery_budget_s for fault in self.faults}
        non_excusing = {fault.kind for fault in self.faults if not FAULT_KINDS[fault.kind].excuses}
        plan = Plan(
            scenario=self.name,
            seed=seed,
            workers=self.workers,
            profile=replace(self.profile, recovery_budget_s=budgets, non_excusing_faults=tuple(sorted(non_excusing))),
            environment=self.environment,
            required_faults=tuple(sorted(budgets)),
            operations=sorted(self.operations(Random(f"{self.name}:{seed}")), key=lambda op: op.at_s),
            faults=self.faults,
        )
        return slowed(plan, self.slow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(Scenario):
    """A stored plan, to be carried out again unchanged."""

    written: Plan

    def plan(self, seed: int) -> Plan:  # noqa: ARG002 - a stored plan has its own seed
        return self.written
