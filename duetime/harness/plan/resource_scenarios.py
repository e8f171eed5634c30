"""Scenarios about resources of a production system that run out."""

from __future__ import annotations

from duetime.harness.plan.plan import Environment, PlannedFault
from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import mixed_events

RESOURCES = (
    Scenario(
        name="disk_full_data",
        what="the disk with the tables of the database is full for 3 s, and its log is on another",
        demonstrates="what needs a new page fails, and what does not goes on: a delivery must not depend on the first",
        hardest_for="oban_style_queue:staged",
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="disk_full", target="database", inject_s=5.2, heal_s=8.2),),
    ),
    Scenario(
        name="disk_full_wal",
        what="the disk with the log of the database is full: PostgreSQL ends, and is started when there is room again",
        demonstrates="a database whose log is full serves nobody, and loses nothing",
        hardest_for="pull_worker",
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="disk_full", target="pg_wal", inject_s=5.2, heal_s=8.2),),
    ),
    Scenario(
        name="disk_full_broker",
        what="the disk with the append-only file of the broker is full for 3 s",
        demonstrates="a broker that cannot store a command refuses all that would change something",
        hardest_for="oban_style_queue",
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="broker_disk_full", target="broker", inject_s=5.2, heal_s=8.2),),
        environment=Environment(broker_persistence="aof"),
    ),
    Scenario(
        name="memory_limit",
        what="a worker goes beyond its memory limit, and the kernel kills the largest of its processes",
        demonstrates="the kernel chooses, without a handler that could give anything back",
        hardest_for="oban_style_queue",
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="memory_limit", target="worker-1", inject_s=5.2, heal_s=8.2),),
    ),
    Scenario(
        name="descriptors_used_up",
        what="a worker that is disconnected can open no further descriptor for 3 s",
        demonstrates="a worker that cannot connect for want of a descriptor has to try again, or to end",
        hardest_for="pull_worker",
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="descriptors_used_up", target="worker-1", inject_s=5.2, heal_s=8.2),),
    ),
)
