"""Scenarios about faults of workers, services and the gateway."""

from __future__ import annotations

from duetime.harness.plan.plan import Environment, Persistence, PlannedFault, Profile
from duetime.harness.plan.scenario import LATENESS_LIMIT_S, Scenario
from duetime.harness.plan.workload import (
    cancelled_event,
    mixed_events,
    rolled_back_transactions,
    simultaneous_event,
    unchanged_events,
)

SLOW_DELIVERIES = Profile(lateness_limit_s=LATENESS_LIMIT_S, delivery_time_s=0.05)
"""Deliveries that last long enough to inject a fault in the middle of one."""

DEPLOY_GRACE_S = 4.0
"""Kubernetes gives 30 s. This is the same for deliveries that last longer, and enough for a worker that is idle."""


def _crash(name: str, *, target: str, what: str, demonstrates: str) -> Scenario:
    """The same workload for each phase of a delivery in which a worker may crash."""
    return Scenario(
        name=name,
        what=what,
        demonstrates=demonstrates,
        hardest_for="oban_style_queue",
        workers=2,
        profile=SLOW_DELIVERIES,
        operations=lambda random: [
            *simultaneous_event(due_s=4.6, people=6),
            *mixed_events(random, seconds=7, horizon_s=4),
        ],
        faults=(PlannedFault(fault="f1", kind="kill", target=target, inject_s=4.5, heal_s=7.5),),
    )


DEFAULT = (
    Scenario(
        name="calm",
        what="one worker and no fault",
        demonstrates="without faults every design works",
        hardest_for="no design",
        operations=lambda random: mixed_events(random, seconds=5, horizon_s=3),
    ),
    Scenario(
        name="more_servers",
        what="three workers instead of one, and no fault",
        demonstrates="more workers must not mean more deliveries of the same notification",
        hardest_for="pull_worker",
        workers=3,
        operations=lambda random: mixed_events(random, seconds=5, horizon_s=3),
    ),
    Scenario(
        name="downtime",
        what="all workers are killed and restarted several poll intervals later",
        demonstrates="whether a design delivers what fell due during the downtime and respects what was cancelled",
        hardest_for="pull_worker",
        operations=lambda random: (
            mixed_events(random, seconds=9, horizon_s=4) + cancelled_event(created_s=6.1, cancelled_s=7.6, due_s=14.4)
        ),
        # Killed when every design is idle: after the last delivery and before the next poll. A kill during a delivery
        # is the scenario `crash`.
        faults=(PlannedFault(fault="f1", kind="kill", target="all", inject_s=5.2, heal_s=8.6),),
    ),
    _crash(
        "crash",
        target="delivering",
        what="one of two workers is killed between a delivery and its answer, and restarted later",
        demonstrates="what is lost with the crashed worker, and what the next worker delivers again",
    ),
)
"""The scenarios of `duetime compare` unless others are named: they take two minutes."""

WORKERS = (
    _crash(
        "crash_before",
        target="before_delivery",
        what="one of two workers is killed when it has claimed a notification and has not delivered it",
        demonstrates="a design that acknowledges before the delivery loses it, one that does so afterwards does not",
    ),
    _crash(
        "crash_after",
        target="after_delivery",
        what="one of two workers is killed right after the answer to a delivery, and perhaps before it acknowledges",
        demonstrates="the time between an answer and its acknowledgement is short, and a crash in it duplicates",
    ),
    Scenario(
        name="rolling_deploy",
        what="two workers are shut down and restarted one after the other, without a kill",
        demonstrates="an orderly restart stops a poller's ticks; a queue worker returns its ETA tasks to the broker",
        hardest_for="pull_worker:one_beat",
        workers=2,
        operations=lambda random: mixed_events(random, seconds=14, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="deploy", target="all", inject_s=3.2, heal_s=3.2),),
    ),
    Scenario(
        name="deploy_too_slow",
        what="two workers are deployed, and a delivery of the first outlasts its grace: SIGTERM, and SIGKILL after 4 s",
        demonstrates="an orderly restart is one only if deliveries end within the grace, else it is a crash",
        hardest_for="oban_style_queue",
        workers=2,
        profile=SLOW_DELIVERIES,
        operations=lambda random: [
            *simultaneous_event(due_s=4.6, people=6),
            *mixed_events(random, seconds=10, horizon_s=4),
        ],
        # The gateway holds the delivery from before SIGTERM until the worker is gone.
        faults=(
            PlannedFault(
                fault="f1",
                kind="deploy_kill",
                target="before_delivery",
                inject_s=4.5,
                heal_s=9.5,
                size_s=DEPLOY_GRACE_S,
            ),
        ),
    ),
    Scenario(
        name="pause",
        what="one of two workers is paused in the middle of a delivery and resumed later",
        demonstrates="a slow worker looks like a dead one, and its notifications are delivered again by another",
        hardest_for="oban_style_queue:staged",
        workers=2,
        profile=SLOW_DELIVERIES,
        operations=lambda random: [
            *simultaneous_event(due_s=3.6, people=8),
            *mixed_events(random, seconds=9, horizon_s=4),
        ],
        faults=(PlannedFault(fault="f1", kind="pause", target="delivering", inject_s=3.5, heal_s=11.5),),
    ),
    Scenario(
        name="backlog",
        what="all workers are down for longer than the time between a reminder and its event",
        demonstrates="reminders that arrive after their event has begun, and whether a backlog is delivered in order",
        hardest_for="pull_worker",
        operations=lambda random: mixed_events(random, seconds=15, horizon_s=3),
        faults=(PlannedFault(fault="f1", kind="kill", target="all", inject_s=3.2, heal_s=15.2),),
    ),
)

BROKERS: tuple[tuple[Persistence, str, str], ...] = (
    ("none", "without any of its data", "a broker without persistence loses every message that it had accepted"),
    ("rdb", "with its last snapshot", "a snapshot loses later messages and brings back those acknowledged since"),
    ("aof", "with all of its data", "a broker that loses nothing still has workers that held messages in memory"),
)

SERVICES = (
    Scenario(
        name="database_restart",
        what="the database server is killed and restarted",
        demonstrates="which designs need the database at the moment of delivery",
        hardest_for="pull_worker",
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="database_kill", target="database", inject_s=5.2, heal_s=6.6),),
    ),
    *(
        Scenario(
            name=f"broker_restart_{persistence}",
            what=f"the broker is killed and restarted {data}",
            demonstrates=demonstrates,
            hardest_for="oban_style_queue",
            operations=lambda random: mixed_events(random, seconds=10, horizon_s=4),
            faults=(PlannedFault(fault="f1", kind="broker_kill", target="broker", inject_s=5.2, heal_s=6.4),),
            environment=Environment(broker_persistence=persistence),
        )
        for persistence, data, demonstrates in BROKERS
    ),
    *(
        Scenario(
            name=f"broker_blip_{name}",
            what=f"all connections to the broker are cut and new ones are refused for {duration}",
            demonstrates="messages of a worker that loses its broker connection are stuck until the visibility timeout",
            hardest_for="oban_style_queue",
            operations=lambda random: mixed_events(random, seconds=10, horizon_s=4),
            faults=(PlannedFault(fault="f1", kind="cut", target="broker", inject_s=5.2, heal_s=5.2 + lasts_s),),
        )
        for name, duration, lasts_s in (("short", "50 ms", 0.05), ("long", "3 s", 3.0))
    ),
    Scenario(
        name="broker_partition",
        what="the network drops every packet to and from the broker for 3 s; no connection is closed",
        demonstrates="a silent connection is not yet lost: only timeouts detect it, and TCP retransmits for longer",
        hardest_for="pull_worker",
        operations=lambda random: mixed_events(random, seconds=10, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="partition", target="broker", inject_s=5.2, heal_s=8.2),),
    ),
    Scenario(
        name="dual_write",
        what="application processes are killed right after a commit, and some transactions are rolled back",
        demonstrates="the database and a broker cannot be written in one transaction",
        hardest_for="oban_style_queue",
        operations=lambda random: [
            *unchanged_events(random, seconds=9, horizon_s=4),
            *rolled_back_transactions(random, seconds=8),
        ],
        faults=(
            PlannedFault(fault="f1", kind="client_kill", target="client-0", inject_s=2.0, heal_s=3.5),
            PlannedFault(fault="f2", kind="client_kill", target="client-1", inject_s=5.5, heal_s=7.0),
        ),
    ),
)

REFUSED = "event-reminder:1997:"
"""The key prefix of the reminder that the gateway refuses in `poison`."""

GATEWAY = (
    Scenario(
        name="poison",
        what="the gateway refuses every delivery to one recipient until the fault is healed",
        demonstrates="one notification that cannot be delivered must not hold up others",
        hardest_for="pull_worker",
        operations=lambda random: [
            *simultaneous_event(due_s=3.45, people=1, number=997),
            *simultaneous_event(due_s=3.50, people=6, number=999),
            *mixed_events(random, seconds=8, horizon_s=3),
        ],
        faults=(
            PlannedFault(
                fault="f1", kind="gateway_refuse", target="gateway", inject_s=1.0, heal_s=8.2, only=(REFUSED,)
            ),
        ),
    ),
    Scenario(
        name="slow_gateway",
        what="each delivery takes 1.5 s longer for 4 s",
        demonstrates="which designs miss or duplicate notifications while the gateway is slow; lateness is excused",
        hardest_for="pull_worker",
        operations=lambda random: mixed_events(random, seconds=8, horizon_s=3),
        faults=(PlannedFault(fault="f1", kind="gateway_slow", target="gateway", inject_s=3.2, heal_s=7.2, size_s=1.5),),
    ),
    Scenario(
        name="lost_answer",
        what="the gateway delivers, but its answers are lost for 1 s",
        demonstrates="a worker cannot tell a lost answer from a lost delivery: it can retry or give up",
        hardest_for="push_readmodel",
        operations=lambda random: mixed_events(random, seconds=8, horizon_s=3),
        faults=(PlannedFault(fault="f1", kind="gateway_lose_answer", target="gateway", inject_s=4.2, heal_s=5.2),),
    ),
)
