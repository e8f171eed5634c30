"""The scenarios: each has one idea, and a profile that is fixed here before anything is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from duetime.errors import UnknownName
from duetime.harness.plan import Operation, Plan, PlannedFault, Profile
from duetime.harness.workload import called_off, gathering, stories

POLL_INTERVAL_S = 1.0
REMINDER_LEAD_S = 10.0
"""One minute of the application is one second of a run: reminders ten minutes ahead, a poll each minute."""

LATENESS_LIMIT_S = POLL_INTERVAL_S + 1.0
"""One poll interval, because a poller may use all of it, and a second for deliveries and a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A plan for every seed.

    idea: what happens, in a sentence. teaches: what one sees. unkind_to: the design that it is hardest for.
    """

    name: str
    idea: str
    teaches: str
    unkind_to: str
    servers: int
    profile: Profile
    operations: Callable[[Random], list[Operation]]
    faults: tuple[PlannedFault, ...] = ()

    def plan(self, seed: int) -> Plan:
        """The same plan for the same seed, for every design."""
        return Plan(
            scenario=self.name,
            seed=seed,
            servers=self.servers,
            profile=self.profile,
            exists_for=tuple(sorted({fault.kind for fault in self.faults})),
            operations=sorted(self.operations(Random(f"{self.name}:{seed}")), key=lambda op: op.at_s),
            faults=self.faults,
        )


SCENARIOS = (
    Scenario(
        name="calm",
        idea="one server, and nothing goes wrong",
        teaches="every design works on a quiet day",
        unkind_to="nobody",
        servers=1,
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S),
        operations=lambda random: stories(random, seconds=5, horizon_s=3),
    ),
    Scenario(
        name="more_servers",
        idea="three servers instead of one, and nothing goes wrong",
        teaches="adding a server must not add deliveries",
        unkind_to="pull_worker",
        servers=3,
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S),
        operations=lambda random: stories(random, seconds=5, horizon_s=3),
    ),
    Scenario(
        name="downtime",
        idea="all servers are killed, several poll intervals pass, they are started again",
        teaches="who remembers what fell due while nobody was up, and what was called off meanwhile",
        unkind_to="pull_worker",
        servers=1,
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S),
        operations=lambda random: (
            stories(random, seconds=9, horizon_s=4) + called_off(created_s=6.1, called_off_s=7.6, due_s=14.4)
        ),
        # Killed between what fell due and the next poll, when every design is idle: a kill in the middle of a delivery
        # is another idea, and has its own scenario.
        faults=(PlannedFault(fault="f1", kind="kill", target="all", inject_s=5.2, heal_s=8.6),),
    ),
    Scenario(
        name="crash",
        idea="one of two servers is killed in the middle of a delivery and started again later",
        teaches="what a dead worker takes with it, and what its successor repeats",
        unkind_to="oban_style_queue",
        servers=2,
        # Deliveries that take a while, so that there is a middle of one.
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, delivery_time_s=0.05),
        operations=lambda random: [
            *gathering(due_s=4.6, people=6),
            *stories(random, seconds=7, horizon_s=4),
        ],
        faults=(PlannedFault(fault="f1", kind="kill", target="delivering", inject_s=4.5, heal_s=7.5),),
    ),
)


def names() -> list[str]:
    return [scenario.name for scenario in SCENARIOS]


def named(name: str) -> Scenario:
    """The scenario called `name`.

    Raises:
        UnknownName: there is none.
    """
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    raise UnknownName("scenario", name, names())
