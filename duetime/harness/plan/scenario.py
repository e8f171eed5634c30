"""What a scenario is: one idea, and everything that was decided about it before anything is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from duetime.faults.fault import FAULT_KINDS
from duetime.harness.plan.plan import Environment, Plan, PlannedFault, PlannedOperation, Profile

POLL_INTERVAL_S = 1.0
REMINDER_LEAD_S = 10.0
"""One minute of the application is one second of a run: reminders ten minutes ahead, a poll each minute."""

LATENESS_LIMIT_S = POLL_INTERVAL_S + 1.0
"""One poll interval, because a poller may use all of it, and a second for deliveries and a busy machine."""

DEFAULT_PROFILE = Profile(lateness_limit_s=LATENESS_LIMIT_S)
DEFAULT_ENVIRONMENT = Environment()
SIDE_BY_SIDE = 5
"""Runs at a time on two cores: with nine, restarting all their servers at once took longer than most outages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A plan for every seed.

    idea: what happens, in a sentence. teaches: what one sees. unkind_to: the design that it is hardest for.
    side_by_side: how many designs may go through it at once without being in each other's way.
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

    def plan(self, seed: int) -> Plan:
        """The same plan for the same seed, for every design."""
        budgets: dict[str, float] = {fault.kind: FAULT_KINDS[fault.kind].recovery_budget_s for fault in self.faults}
        return Plan(
            scenario=self.name,
            seed=seed,
            workers=self.workers,
            profile=replace(
                self.profile,
                recovery_budget_s=budgets,
                non_excusing_faults=tuple(
                    sorted({fault.kind for fault in self.faults if not FAULT_KINDS[fault.kind].excuses})
                ),
            ),
            environment=self.environment,
            required_faults=tuple(sorted(budgets)),
            operations=sorted(self.operations(Random(f"{self.name}:{seed}")), key=lambda op: op.at_s),
            faults=self.faults,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(Scenario):
    """A plan that is written already, to be carried out again to the letter; no seed changes it."""

    written: Plan

    def plan(self, seed: int) -> Plan:  # noqa: ARG002 - the same for every seed, because it has one
        return self.written
