"""The scenarios: each has one idea, and a profile that is fixed here before anything is run."""

from __future__ import annotations

import json
from pathlib import Path

from duetime.errors import BadUsage, UnknownName
from duetime.harness.plan.plan import Environment, Persistence, Plan, PlannedFault, Profile
from duetime.harness.plan.scenario import LATENESS_LIMIT_S, REMINDER_LEAD_S, Replay, Scenario
from duetime.harness.plan.workload import (
    called_off,
    changes,
    crowds,
    due_at_poll,
    follow_ups,
    just_too_late,
    long_planned,
    migration_mid_run,
    plain,
    readdressed,
    rolled_back,
    simultaneous_event,
    stories,
    wages,
)
from duetime.history.format import upgraded

DEFAULT = (
    Scenario(
        name="calm",
        what="one server, and nothing goes wrong",
        demonstrates="every design works on a quiet day",
        hardest_for="nobody",
        operations=lambda random: stories(random, seconds=5, horizon_s=3),
    ),
    Scenario(
        name="more_servers",
        what="three servers instead of one, and nothing goes wrong",
        demonstrates="adding a server must not add deliveries",
        hardest_for="pull_worker",
        workers=3,
        operations=lambda random: stories(random, seconds=5, horizon_s=3),
    ),
    Scenario(
        name="downtime",
        what="all servers are killed, several poll intervals pass, they are started again",
        demonstrates="who remembers what fell due while nobody was up, and what was called off meanwhile",
        hardest_for="pull_worker",
        operations=lambda random: (
            stories(random, seconds=9, horizon_s=4) + called_off(created_s=6.1, called_off_s=7.6, due_s=14.4)
        ),
        # Killed between what fell due and the next poll, when every design is idle: a kill in the middle of a delivery
        # is another idea, and has its own scenario.
        faults=(PlannedFault(fault="f1", kind="kill", target="all", inject_s=5.2, heal_s=8.6),),
    ),
    Scenario(
        name="crash",
        what="one of two servers is killed in the middle of a delivery and started again later",
        demonstrates="what a dead worker takes with it, and what its successor repeats",
        hardest_for="oban_style_queue",
        workers=2,
        # Deliveries that take a while, so that there is a middle of one.
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, delivery_time_s=0.05),
        operations=lambda random: [
            *simultaneous_event(due_s=4.6, people=6),
            *stories(random, seconds=7, horizon_s=4),
        ],
        faults=(PlannedFault(fault="f1", kind="kill", target="delivering", inject_s=4.5, heal_s=7.5),),
    ),
)
"""What a comparison runs unless it is told otherwise: a class has two minutes."""

WORKERS = (
    Scenario(
        name="rolling_deploy",
        what="two servers are restarted one after the other, in order",
        demonstrates="an orderly restart is an outage for designs with state in memory or a single process of a kind",
        hardest_for="pull_worker:one_beat",
        workers=2,
        operations=lambda random: stories(random, seconds=14, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="deploy", target="all", inject_s=3.2, heal_s=3.2),),
    ),
    Scenario(
        name="pause",
        what="one of two servers stands still in the middle of a delivery and goes on later, knowing nothing of it",
        demonstrates="who is slow looks dead: what is taken from it is done twice",
        hardest_for="oban_style_queue:staged",
        workers=2,
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, delivery_time_s=0.05),
        operations=lambda random: [*simultaneous_event(due_s=3.6, people=8), *stories(random, seconds=9, horizon_s=4)],
        faults=(PlannedFault(fault="f1", kind="pause", target="delivering", inject_s=3.5, heal_s=11.5),),
    ),
    Scenario(
        name="backlog",
        what="all servers are down for longer than reminders come ahead of their events",
        demonstrates="what comes late comes after the event has begun, and whether it comes in order",
        hardest_for="pull_worker",
        operations=lambda random: stories(random, seconds=15, horizon_s=3),
        faults=(PlannedFault(fault="f1", kind="kill", target="all", inject_s=3.2, heal_s=15.2),),
    ),
)

BROKERS: tuple[tuple[Persistence, str, str], ...] = (
    ("none", "nothing of what it held", "a broker without a disk forgets what it had taken charge of"),
    ("rdb", "its last snapshot", "a snapshot loses what came after it and brings back what was done since"),
    ("aof", "everything", "a broker that forgets nothing still has workers that held its messages"),
)

SERVICES = (
    Scenario(
        name="database_restart",
        what="the database is killed and comes back",
        demonstrates="who needs the database at the moment of delivery",
        hardest_for="pull_worker",
        operations=lambda random: stories(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="database_kill", target="database", inject_s=5.2, heal_s=6.6),),
    ),
    *(
        Scenario(
            name=f"broker_restart_{keeps}",
            what=f"the broker is killed and comes back with {what}",
            demonstrates=demonstrates,
            hardest_for="oban_style_queue",
            operations=lambda random: stories(random, seconds=10, horizon_s=4),
            faults=(PlannedFault(fault="f1", kind="broker_kill", target="broker", inject_s=5.2, heal_s=6.4),),
            environment=Environment(broker_persistence=keeps),
        )
        for keeps, what, demonstrates in BROKERS
    ),
    *(
        Scenario(
            name=f"broker_blip_{name}",
            what=f"every connection to the broker is cut, and refused for {what}",
            demonstrates="a worker that loses its connection loses what it held",
            hardest_for="oban_style_queue",
            operations=lambda random: stories(random, seconds=10, horizon_s=4),
            faults=(PlannedFault(fault="f1", kind="cut", target="broker", inject_s=5.2, heal_s=5.2 + lasts_s),),
        )
        for name, what, lasts_s in (("short", "50 ms", 0.05), ("long", "3 s", 3.0))
    ),
    Scenario(
        name="broker_partition",
        what="the broker is cut off for 3 s: packets vanish, and nobody is told",
        demonstrates="a connection that says nothing is not yet lost; only timeouts notice, and TCP waits longer",
        hardest_for="nobody, as long as it is short",
        operations=lambda random: stories(random, seconds=10, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="partition", target="broker", inject_s=5.2, heal_s=8.2),),
    ),
    Scenario(
        name="dual_write",
        what="an application dies between its commit and what follows it, and transactions are rolled back",
        demonstrates="two stores cannot be written as one",
        hardest_for="oban_style_queue",
        operations=lambda random: [*plain(random, seconds=9, horizon_s=4), *rolled_back(random, seconds=8)],
        faults=(
            PlannedFault(fault="f1", kind="client_kill", target="client-0", inject_s=2.0, heal_s=3.5),
            PlannedFault(fault="f2", kind="client_kill", target="client-1", inject_s=5.5, heal_s=7.0),
        ),
    ),
)

CLOCKS = (
    Scenario(
        name="clock_skew",
        what="the server's clock is 2 s fast for a while, and later 2 s slow",
        demonstrates="whose clock decides what is due",
        hardest_for="pull_worker",
        operations=lambda random: stories(random, seconds=14, horizon_s=4),
        faults=(
            PlannedFault(fault="f1", kind="clock", target="worker-1", inject_s=3.1, heal_s=7.1, size_s=2.0),
            PlannedFault(fault="f2", kind="clock", target="worker-1", inject_s=10.1, heal_s=14.1, size_s=-2.0),
        ),
    ),
    Scenario(
        name="boundary",
        what="notifications fall due exactly when pollers look",
        demonstrates="ticks jitter, so windows of a fixed length leave gaps and overlap",
        hardest_for="pull_worker",
        operations=lambda random: due_at_poll(random, seconds=range(3, 10), each=20),
        side_by_side=3,
    ),
    Scenario(
        name="late_event",
        what="events are created, or moved, when their reminder has just become due",
        demonstrates="a window that has passed does not come again",
        hardest_for="pull_worker",
        operations=lambda random: [
            *just_too_late(random, seconds=range(3, 9)),
            *stories(random, seconds=5, horizon_s=3),
        ],
    ),
    Scenario(
        name="move_and_cancel",
        what="much is moved and called off, some close to its time, some before the server is restarted in order",
        demonstrates="a cancel that is only remembered is forgotten",
        hardest_for="oban_style_queue",
        operations=lambda random: changes(random) + plain(random, seconds=7, horizon_s=3, clients=(1,)),
        faults=(PlannedFault(fault="f1", kind="deploy", target="all", inject_s=4.9, heal_s=4.9),),
    ),
    Scenario(
        name="long_horizon",
        what="reminders fall due later than the broker waits for an acknowledgement (four minutes here, not an hour)",
        demonstrates="what waits in a worker's memory is given to another, again and again",
        hardest_for="oban_style_queue",
        operations=lambda random: [
            *long_planned(random, created_s=(0.2, 2.5), due_s=(13, 15), events=12),
            *stories(random, seconds=5, horizon_s=3),
        ],
        # kombu sweeps for such messages every 100 s; the documented knobs for that are set to 1 s with the timeout.
        environment=Environment(visibility_timeout_s=4.0),
    ),
)

LOAD = (
    Scenario(
        name="far_flood",
        what="2,000 notifications are due in an hour, and a few now",
        demonstrates="what is far away must not stand in the way of what is due",
        hardest_for="nobody at these settings; a worker with worker_eta_task_limit",
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, owed_until_s=60.0),
        operations=lambda random: [
            *(
                operation
                for number in range(980, 988)
                for operation in simultaneous_event(due_s=3600.5, people=250, number=number)
            ),
            *plain(random, seconds=12, horizon_s=4, clients=(1,)),
        ],
        side_by_side=3,
    ),
    Scenario(
        name="burst",
        what="5,000 notifications fall due within one second",
        demonstrates="how long the last one waits",
        hardest_for="oban_style_queue:staged",
        workers=2,
        # Later than that, and the event has begun.
        profile=Profile(lateness_limit_s=REMINDER_LEAD_S, delivery_time_s=0.0, measures_capacity=True),
        operations=lambda _random: [
            operation
            for number in range(10)
            for operation in simultaneous_event(
                due_s=9.40 + number * 0.05, people=500, number=980 + number, client=number % 2, at_s=0.2
            )
        ],
        side_by_side=1,
    ),
    Scenario(
        name="old_transaction",
        what="a transaction is forgotten while notifications come and go",
        demonstrates="a queue in a table leaves dead rows, which vacuum cannot remove while an old snapshot sees them",
        hardest_for="push_readmodel",
        profile=Profile(lateness_limit_s=4.0, delivery_time_s=0.0),
        operations=lambda random: [
            *(
                operation
                for number in range(8)
                for operation in simultaneous_event(
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

GATEWAY = (
    Scenario(
        name="poison",
        what="one recipient is refused by the gateway, again and again, until somebody mends it",
        demonstrates="one bad notification may not take others with it",
        hardest_for="pull_worker",
        operations=lambda random: [
            *simultaneous_event(due_s=3.45, people=1, number=997),
            *simultaneous_event(due_s=3.50, people=6, number=999),
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
        what="each delivery takes 1.5 s longer for a while",
        demonstrates="what is missed or repeated by who waits for the outside world; lateness meanwhile is the world's",
        hardest_for="pull_worker",
        operations=lambda random: stories(random, seconds=8, horizon_s=3),
        faults=(PlannedFault(fault="f1", kind="gateway_slow", target="gateway", inject_s=3.2, heal_s=7.2, size_s=1.5),),
    ),
    Scenario(
        name="lost_answer",
        what="the gateway delivers, and its answers get lost for a while",
        demonstrates="nobody can tell a lost answer from a lost delivery: repeat, or leave it",
        hardest_for="push_readmodel",
        operations=lambda random: stories(random, seconds=8, horizon_s=3),
        faults=(PlannedFault(fault="f1", kind="gateway_lose_answer", target="gateway", inject_s=4.2, heal_s=5.2),),
    ),
)

USE_CASES = (
    Scenario(
        name="use_cases",
        what="one server, and all six use cases: reminders, trials, reviews, reservations, wages, unpaid orders",
        demonstrates="one schedule() serves them all; a day is a second here",
        hardest_for="nobody",
        operations=lambda random: [*follow_ups(random, seconds=7), *stories(random, seconds=4, horizon_s=3)],
    ),
    Scenario(
        name="use_cases_downtime",
        what="the same, and the server is killed for some days and started again",
        demonstrates="who remembers; and that a status in the table remembers too",
        hardest_for="oban_style_queue",
        operations=lambda random: [*follow_ups(random, seconds=9), *stories(random, seconds=4, horizon_s=3)],
        faults=(PlannedFault(fault="f1", kind="kill", target="all", inject_s=5.2, heal_s=8.6),),
    ),
    Scenario(
        name="wages",
        what="reminders and wages fall due together, and one of two servers is killed in the middle of them",
        demonstrates="what leaves the building may come twice; what stays inside the database need not",
        hardest_for="oban_style_queue:staged",
        workers=2,
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, delivery_time_s=0.05),
        operations=lambda random: [
            *simultaneous_event(due_s=4.6, people=8),
            *wages(due_s=4.6, errands=40, apart_s=0.01),
            *stories(random, seconds=7, horizon_s=4),
        ],
        faults=(PlannedFault(fault="f1", kind="kill", target="delivering", inject_s=4.5, heal_s=7.5),),
    ),
)

ON_REQUEST = (
    Scenario(
        name="long_look",
        what="one server, nothing goes wrong, and the run goes on until well after the events",
        demonstrates="what comes so late that one would have stopped looking",
        hardest_for="nobody",
        profile=Profile(lateness_limit_s=LATENESS_LIMIT_S, grace_s=20.0),
        operations=lambda random: stories(random, seconds=3, horizon_s=3),
    ),
    Scenario(
        name="new_address",
        what="addresses change after reminders were scheduled, and the server is restarted in order in between",
        demonstrates="who sends to the old address: a copy that nobody can call back",
        hardest_for="oban_style_queue",
        operations=lambda random: [*readdressed(random), *plain(random, seconds=7, horizon_s=3, clients=(1,))],
        faults=(PlannedFault(fault="f1", kind="deploy", target="all", inject_s=4.9, heal_s=4.9),),
    ),
    Scenario(
        name="migration",
        what="the design is swapped while operations go on; for designs called OLD-to-NEW",
        demonstrates="whatever stands behind schedule() can be replaced",
        hardest_for="whoever keeps no record of what is pending",
        operations=lambda random: migration_mid_run(random, at_s=5.2),
    ),
    Scenario(
        name="migration_stopped",
        what="the same for an old design whose server has to be stopped before: for pull_worker-to-NEW",
        demonstrates="somebody has to know how far it had got",
        hardest_for="whoever falls due between the stop and the switch",
        operations=lambda random: migration_mid_run(random, at_s=5.2),
        faults=(PlannedFault(fault="f1", kind="worker_removed", target="old-worker-1", inject_s=5.0, heal_s=12.5),),
    ),
)
"""Only when they are named: what most designs have no use for."""

CAPACITY = (
    Scenario(
        name="million",
        what="a million notifications: a thousand events of a thousand participants each",
        demonstrates="what a design does in minutes, with two processors for everything",
        hardest_for="whoever does something for each notification alone",
        # Later than that, and the event has begun.
        profile=Profile(lateness_limit_s=REMINDER_LEAD_S, delivery_time_s=0.0, measures_capacity=True),
        operations=lambda random: crowds(random, events=1000, people=1000, created_s=(0.2, 100.0), due_s=(75.0, 150.0)),
        side_by_side=1,
    ),
)
"""For one design at a time, and only when it is named: it takes minutes, and the whole machine."""

SCENARIOS = (
    *DEFAULT,
    *WORKERS,
    *SERVICES,
    *CLOCKS,
    *LOAD,
    *GATEWAY,
    *USE_CASES,
)
ALL = (*SCENARIOS, *ON_REQUEST, *CAPACITY)
"""Whatever can be named; a full comparison has only `SCENARIOS` in it."""


def replay(path: Path) -> Replay:
    """The plan of a stored run, to be done again."""
    try:
        plan = Plan.from_json(upgraded(json.loads(path.read_bytes())))
    except OSError as error:
        raise BadUsage(f"{path}: cannot be read ({error.strerror}); give the plan.json of a stored run") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadUsage(f"{path} is no plan of this version: {type(error).__name__} {error}") from error
    return Replay(
        name=plan.scenario,
        what=f"what {path} says",
        demonstrates="whether it happens again",
        hardest_for="nobody in particular",
        workers=plan.workers,
        operations=lambda _random: list(plan.operations),
        faults=tuple(plan.faults),
        profile=plan.profile,
        environment=plan.environment,
        written=plan,
    )


def names() -> list[str]:
    return [scenario.name for scenario in ALL]


def named(name: str) -> Scenario:
    """The scenario called `name`, or what the plan.json of that path says was planned or done.

    Raises:
        UnknownName: there is none.
        BadUsage: the file is no plan.
    """
    if name.endswith(".json"):
        return replay(Path(name))
    for scenario in ALL:
        if scenario.name == name:
            return scenario
    raise UnknownName("scenario", name, names())
