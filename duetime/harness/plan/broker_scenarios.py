"""Scenarios about a broker whose replica takes over."""

from __future__ import annotations

from duetime.harness.plan.plan import BrokerReplication, Environment, PlannedFault
from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import mixed_events

REPLICATED: tuple[tuple[str, BrokerReplication, str, str], ...] = (
    (
        "broker_failover",
        "asynchronous",
        "after replication was behind by a second",
        "a broker acknowledges what its replica does not have; after a failover nobody has it",
    ),
    (
        "broker_failover_min_replicas",
        "min_replicas",
        "and each of them refuses to write without a replica",
        "what could be lost is refused instead: publishing fails after the commit, and who does not try again loses it",
    ),
)

BROKER_FAILOVER = tuple(
    Scenario(
        name=name,
        what=f"the primary of the broker is killed and Sentinel lets its replica take over, {how}",
        demonstrates=demonstrates,
        hardest_for="oban_style_queue",
        operations=lambda random: mixed_events(random, seconds=13, horizon_s=4),
        # The old primary is back 6 s after its end. A Celery worker that gives up exits 4 s after it, so the healing
        # waits for its restart.
        faults=(PlannedFault(fault="f1", kind="broker_failover", target="broker", inject_s=4.2, heal_s=11.0),),
        environment=Environment(broker_replication=replication),
    )
    for name, replication, how, demonstrates in REPLICATED
)
