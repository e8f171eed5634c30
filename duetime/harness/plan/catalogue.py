"""The scenarios: each has one idea, and a profile that is fixed here before anything is run."""

from __future__ import annotations

import json
from pathlib import Path

from duetime.errors import BadUsage, UnknownName
from duetime.harness.plan.plan import Persistence, Plan, PlannedFault, Profile, Surroundings
from duetime.harness.plan.scenario import LATENESS_LIMIT_S, REMINDER_LEAD_S, Replay, Scenario
from duetime.harness.plan.workload import (
    called_off,
    changes,
    crowds,
    follow_ups,
    gathering,
    just_too_late,
    long_planned,
    on_the_tick,
    plain,
    readdressed,
    rolled_back,
    stories,
    swapped,
    wages,
)

SERVERS_DIE = (
    Scenario(
        name="calm",
        idea="one server, and nothing goes wrong",
        teaches="every design works on a quiet day",
        unkind_to="nobody",
        operations=lambda random: stories(random, seconds=5, horizon_s=3),
    ),
    Scenario(
        name="more_servers",
        idea="three servers instead of one, and nothing goes wrong",
        teaches="adding a server must not add deliveries",
        unkind_to="pull_worker",
        servers=3,
        operations=lambda random: stories(random, seconds=5, horizon_s=3),
    ),
    Scenario(
        name="downtime",
        idea="all servers are killed, several poll intervals pass, they are started again",
        teaches="who remembers what fell due while nobody was up, and what was called off meanwhile",
        unkind_to="pull_worker",
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
"""What a comparison runs unless it is told otherwise: a class has two minutes."""

SERVERS_COME_AND_GO = (
    Scenario(
        name="rolling_deploy",
        idea="two servers are restarted one after the other, in order",
        teaches="an orderly restart is an outage too, for whoever keeps something in memory or has only one of a kind",
        unkind_to="pull_worker:one_beat",
        servers=2,
        operations=lambda random: stories(random, seconds=14, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="deploy", target="all", inject_s=3.2, heal_s=3.2),),
    ),
    Scenario(
        name="pause",
        idea="one of two servers stands still in the middle of a delivery and goes on later, knowing nothing of it",
        teaches="who is slow looks dead: what is taken from it is done twice",
        unkind_to="oban_style_queue:staged",
        servers=2,
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, delivery_time_s=0.05),
        operations=lambda random: [*gathering(due_s=3.6, people=8), *stories(random, seconds=9, horizon_s=4)],
        faults=(PlannedFault(fault="f1", kind="pause", target="delivering", inject_s=3.5, heal_s=11.5),),
    ),
    Scenario(
        name="backlog",
        idea="all servers are down for longer than reminders come ahead of their events",
        teaches="what comes late comes after the event has begun, and whether it comes in order",
        unkind_to="pull_worker",
        operations=lambda random: stories(random, seconds=15, horizon_s=3),
        faults=(PlannedFault(fault="f1", kind="kill", target="all", inject_s=3.2, heal_s=15.2),),
    ),
)

BROKERS: tuple[tuple[Persistence, str, str], ...] = (
    ("none", "nothing of what it held", "a broker without a disk forgets what it had taken charge of"),
    ("rdb", "its last snapshot", "a snapshot loses what came after it and brings back what was done since"),
    ("aof", "everything", "a broker that forgets nothing still has workers that held its messages"),
)

SERVICES_GO_AWAY = (
    Scenario(
        name="database_restart",
        idea="the database is killed and comes back",
        teaches="who needs the database at the moment of delivery",
        unkind_to="pull_worker",
        operations=lambda random: stories(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="database_kill", target="database", inject_s=5.2, heal_s=6.6),),
    ),
    *(
        Scenario(
            name=f"broker_restart_{keeps}",
            idea=f"the broker is killed and comes back with {what}",
            teaches=teaches,
            unkind_to="oban_style_queue",
            operations=lambda random: stories(random, seconds=10, horizon_s=4),
            faults=(PlannedFault(fault="f1", kind="broker_kill", target="broker", inject_s=5.2, heal_s=6.4),),
            surroundings=Surroundings(broker_keeps=keeps),
        )
        for keeps, what, teaches in BROKERS
    ),
    *(
        Scenario(
            name=f"broker_blip_{name}",
            idea=f"every connection to the broker is cut, and refused for {what}",
            teaches="a worker that loses its connection loses what it held",
            unkind_to="oban_style_queue",
            operations=lambda random: stories(random, seconds=10, horizon_s=4),
            faults=(PlannedFault(fault="f1", kind="cut", target="broker", inject_s=5.2, heal_s=5.2 + lasts_s),),
        )
        for name, what, lasts_s in (("short", "50 ms", 0.05), ("long", "3 s", 3.0))
    ),
    Scenario(
        name="broker_partition",
        idea="the broker is cut off for 3 s: packets vanish, and nobody is told",
        teaches="a connection that says nothing is not yet lost; only timeouts notice, and TCP waits longer",
        unkind_to="nobody, as long as it is short",
        operations=lambda random: stories(random, seconds=10, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="partition", target="broker", inject_s=5.2, heal_s=8.2),),
    ),
    Scenario(
        name="dual_write",
        idea="an application dies between its commit and what follows it, and transactions are rolled back",
        teaches="two stores cannot be written as one",
        unkind_to="oban_style_queue",
        operations=lambda random: [*plain(random, seconds=9, horizon_s=4), *rolled_back(random, seconds=8)],
        faults=(
            PlannedFault(fault="f1", kind="client_kill", target="client-0", inject_s=2.0, heal_s=3.5),
            PlannedFault(fault="f2", kind="client_kill", target="client-1", inject_s=5.5, heal_s=7.0),
        ),
    ),
)

TIME_ITSELF = (
    Scenario(
        name="clock_skew",
        idea="the server's clock is 2 s fast for a while, and later 2 s slow",
        teaches="whose clock decides what is due",
        unkind_to="pull_worker",
        operations=lambda random: stories(random, seconds=14, horizon_s=4),
        faults=(
            PlannedFault(fault="f1", kind="clock", target="server-1", inject_s=3.1, heal_s=7.1, size_s=2.0),
            PlannedFault(fault="f2", kind="clock", target="server-1", inject_s=10.1, heal_s=14.1, size_s=-2.0),
        ),
    ),
    Scenario(
        name="boundary",
        idea="notifications fall due exactly when pollers look",
        teaches="ticks jitter, so windows of a fixed length leave gaps and overlap",
        unkind_to="pull_worker",
        operations=lambda random: on_the_tick(random, seconds=range(3, 10), each=20),
        side_by_side=3,
    ),
    Scenario(
        name="late_event",
        idea="events are created, or moved, when their reminder has just become due",
        teaches="a window that has passed does not come again",
        unkind_to="pull_worker",
        operations=lambda random: [
            *just_too_late(random, seconds=range(3, 9)),
            *stories(random, seconds=5, horizon_s=3),
        ],
    ),
    Scenario(
        name="move_and_cancel",
        idea="much is moved and called off, some close to its time, some before the server is restarted in order",
        teaches="a cancel that is only remembered is forgotten",
        unkind_to="oban_style_queue",
        operations=lambda random: changes(random) + plain(random, seconds=7, horizon_s=3, clients=(1,)),
        faults=(PlannedFault(fault="f1", kind="deploy", target="all", inject_s=4.9, heal_s=4.9),),
    ),
    Scenario(
        name="long_horizon",
        idea="reminders fall due later than the broker waits for an acknowledgement (four minutes here, not an hour)",
        teaches="what waits in a worker's memory is given to another, again and again",
        unkind_to="oban_style_queue",
        operations=lambda random: [
            *long_planned(random, created_s=(0.2, 2.5), due_s=(13, 15), events=12),
            *stories(random, seconds=5, horizon_s=3),
        ],
        # kombu sweeps for such messages every 100 s; the documented knobs for that are set to 1 s with the timeout.
        surroundings=Surroundings(visibility_timeout_s=4.0),
    ),
)

A_LOT = (
    Scenario(
        name="far_flood",
        idea="2,000 notifications are due in an hour, and a few now",
        teaches="what is far away must not stand in the way of what is due",
        unkind_to="nobody at these settings; a worker with worker_eta_task_limit",
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, beyond_s=60.0),
        operations=lambda random: [
            *(
                operation
                for number in range(980, 988)
                for operation in gathering(due_s=3600.5, people=250, number=number)
            ),
            *plain(random, seconds=12, horizon_s=4, clients=(1,)),
        ],
        side_by_side=3,
    ),
    Scenario(
        name="burst",
        idea="5,000 notifications fall due within one second",
        teaches="how long the last one waits",
        unkind_to="oban_style_queue:staged",
        servers=2,
        # Later than that, and the event has begun.
        profile=Profile(lateness_limit_s=REMINDER_LEAD_S, delivery_time_s=0.0, measures_capacity=True),
        operations=lambda _random: [
            operation
            for number in range(10)
            for operation in gathering(
                due_s=9.40 + number * 0.05, people=500, number=980 + number, client=number % 2, at_s=0.2
            )
        ],
        side_by_side=1,
    ),
    Scenario(
        name="old_transaction",
        idea="a transaction is forgotten while notifications come and go",
        teaches="a queue in a table leaves dead rows, which vacuum may not remove while anybody might still see them",
        unkind_to="push_readmodel",
        profile=Profile(lateness_limit_s=4.0, delivery_time_s=0.0),
        operations=lambda random: [
            *(
                operation
                for number in range(8)
                for operation in gathering(
                    due_s=4.45 + number * 0.5, people=50, number=980 + number, client=number % 2, at_s=1.2
                )
            ),
            *plain(random, seconds=8, horizon_s=3, clients=(1,)),
        ],
        side_by_side=3,
        faults=(PlannedFault(fault="f1", kind="old_transaction", target="database", inject_s=0.8, heal_s=10.0),),
    ),
)

POISONED = "event-reminder:1997:"

THE_OUTSIDE_WORLD = (
    Scenario(
        name="poison",
        idea="one recipient is refused by the gateway, again and again, until somebody mends it",
        teaches="one bad notification may not take others with it",
        unkind_to="pull_worker",
        operations=lambda random: [
            *gathering(due_s=3.45, people=1, number=997),
            *gathering(due_s=3.50, people=6, number=999),
            *stories(random, seconds=8, horizon_s=3),
        ],
        faults=(
            PlannedFault(
                fault="f1", kind="gateway_refuse", target="gateway", inject_s=1.0, heal_s=8.2, only=(POISONED,)
            ),
        ),
    ),
    Scenario(
        name="slow_gateway",
        idea="each delivery takes 1.5 s longer for a while",
        teaches="what is missed or repeated by who waits for the outside world; lateness meanwhile is the world's",
        unkind_to="pull_worker",
        operations=lambda random: stories(random, seconds=8, horizon_s=3),
        faults=(PlannedFault(fault="f1", kind="gateway_slow", target="gateway", inject_s=3.2, heal_s=7.2, size_s=1.5),),
    ),
    Scenario(
        name="lost_answer",
        idea="the gateway delivers, and its answers get lost for a while",
        teaches="nobody can tell a lost answer from a lost delivery: repeat, or leave it",
        unkind_to="push_readmodel",
        operations=lambda random: stories(random, seconds=8, horizon_s=3),
        faults=(PlannedFault(fault="f1", kind="gateway_lose_answer", target="gateway", inject_s=4.2, heal_s=5.2),),
    ),
)

USE_CASES = (
    Scenario(
        name="use_cases",
        idea="one server, and all six use cases: reminders, trials, reviews, reservations, wages, unpaid orders",
        teaches="one schedule() serves them all; a day is a second here",
        unkind_to="nobody",
        operations=lambda random: [*follow_ups(random, seconds=7), *stories(random, seconds=4, horizon_s=3)],
    ),
    Scenario(
        name="use_cases_downtime",
        idea="the same, and the server is killed for some days and started again",
        teaches="who remembers; and that a status in the table remembers too",
        unkind_to="oban_style_queue",
        operations=lambda random: [*follow_ups(random, seconds=9), *stories(random, seconds=4, horizon_s=3)],
        faults=(PlannedFault(fault="f1", kind="kill", target="all", inject_s=5.2, heal_s=8.6),),
    ),
    Scenario(
        name="wages",
        idea="reminders and wages fall due together, and one of two servers is killed in the middle of them",
        teaches="what leaves the building may come twice; what stays inside the database need not",
        unkind_to="oban_style_queue:staged",
        servers=2,
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, delivery_time_s=0.05),
        operations=lambda random: [
            *gathering(due_s=4.6, people=8),
            *wages(due_s=4.6, errands=40, apart_s=0.01),
            *stories(random, seconds=7, horizon_s=4),
        ],
        faults=(PlannedFault(fault="f1", kind="kill", target="delivering", inject_s=4.5, heal_s=7.5),),
    ),
)

BY_NAME = (
    Scenario(
        name="long_look",
        idea="one server, nothing goes wrong, and the run goes on until well after the events",
        teaches="what comes so late that one would have stopped looking",
        unkind_to="nobody",
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, grace_s=20.0),
        operations=lambda random: stories(random, seconds=3, horizon_s=3),
    ),
    Scenario(
        name="new_address",
        idea="addresses change after reminders were scheduled, and the server is restarted in order in between",
        teaches="who sends to the old address: a copy that nobody can call back",
        unkind_to="oban_style_queue",
        operations=lambda random: [*readdressed(random), *plain(random, seconds=7, horizon_s=3, clients=(1,))],
        faults=(PlannedFault(fault="f1", kind="deploy", target="all", inject_s=4.9, heal_s=4.9),),
    ),
    Scenario(
        name="migration",
        idea="the design is swapped while operations go on; for designs called OLD-to-NEW",
        teaches="whatever stands behind schedule() can be replaced",
        unkind_to="whoever keeps no record of what is pending",
        operations=lambda random: swapped(random, at_s=5.2),
    ),
    Scenario(
        name="migration_stopped",
        idea="the same for an old design whose server has to be stopped before: for pull_worker-to-NEW",
        teaches="somebody has to know how far it had got",
        unkind_to="whoever falls due between the stop and the switch",
        operations=lambda random: swapped(random, at_s=5.2),
        faults=(PlannedFault(fault="f1", kind="server_removed", target="old-server-1", inject_s=5.0, heal_s=12.5),),
    ),
)
"""Only when they are named: what most designs have no use for."""

CAPACITY = (
    Scenario(
        name="million",
        idea="a million notifications: a thousand events of a thousand participants each",
        teaches="what a design does in minutes, with two processors for everything",
        unkind_to="whoever does something for each notification alone",
        # Later than that, and the event has begun.
        profile=Profile(lateness_limit_s=REMINDER_LEAD_S, delivery_time_s=0.0, measures_capacity=True),
        operations=lambda random: crowds(random, events=1000, people=1000, created_s=(0.2, 100.0), due_s=(75.0, 150.0)),
        side_by_side=1,
    ),
)
"""For one design at a time, and only when it is named: it takes minutes, and the whole machine."""

SCENARIOS = (
    *SERVERS_DIE,
    *SERVERS_COME_AND_GO,
    *SERVICES_GO_AWAY,
    *TIME_ITSELF,
    *A_LOT,
    *THE_OUTSIDE_WORLD,
    *USE_CASES,
)
EVERY = (*SCENARIOS, *BY_NAME, *CAPACITY)
"""Whatever can be named; a full comparison has only `SCENARIOS` in it."""


def replay(path: Path) -> Replay:
    """The plan of a stored run, to be done again."""
    try:
        plan = Plan.from_json(json.loads(path.read_bytes()))
    except OSError as error:
        raise BadUsage(f"{path}: cannot be read ({error.strerror}); give the plan.json of a stored run") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadUsage(f"{path} is no plan of this version: {type(error).__name__} {error}") from error
    return Replay(
        name=plan.scenario,
        idea=f"what {path} says",
        teaches="whether it happens again",
        unkind_to="nobody in particular",
        servers=plan.servers,
        operations=lambda _random: list(plan.operations),
        faults=tuple(plan.faults),
        profile=plan.profile,
        surroundings=plan.surroundings,
        written=plan,
    )


def names() -> list[str]:
    return [scenario.name for scenario in EVERY]


def named(name: str) -> Scenario:
    """The scenario called `name`, or what the plan.json of that path says was planned or done.

    Raises:
        UnknownName: there is none.
        BadUsage: the file is no plan.
    """
    if name.endswith(".json"):
        return replay(Path(name))
    for scenario in EVERY:
        if scenario.name == name:
            return scenario
    raise UnknownName("scenario", name, names())
