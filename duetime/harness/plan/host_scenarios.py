"""Scenarios about several hosts: each worker, the database and the broker have a network address of their own."""

from __future__ import annotations

from duetime.faults.fault import FaultKind
from duetime.harness.plan.plan import PlannedFault
from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import mixed_events

FAR_S = 0.05
"""Each way: between two continents."""

CUTS: tuple[tuple[FaultKind, str, str], ...] = (
    (
        "cut_from_database",
        "the host of one of two workers and that of the database do not reach each other for 4 s",
        "a worker without its database delivers nothing, and must leave what is due to others",
    ),
    (
        "cut_from_broker",
        "the host of one of two workers and that of the broker do not reach each other for 4 s",
        "a worker without its broker delivers what it has, and goes on when the broker is back",
    ),
    (
        "half_cut",
        "for 4 s the host of one of two workers gets nothing from the database's, which gets all that it sends",
        "the database commits, and the worker waits for an answer that does not come",
    ),
)

HOSTS = (
    Scenario(
        name="host_vanishes",
        what="the host of a worker vanishes in the middle of its deliveries, and is back 38 s later",
        demonstrates="nobody closes the connection of a vanished host, so what it holds is free after a timeout",
        hardest_for="push_readmodel",
        workers=2,
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="host_vanishes", target="delivering", inject_s=4.2, heal_s=42.2),),
    ),
    *(
        Scenario(
            name=kind,
            what=what,
            demonstrates=demonstrates,
            hardest_for="push_readmodel",
            workers=2,
            operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
            faults=(PlannedFault(fault="f1", kind=kind, target="worker-1", inject_s=4.2, heal_s=8.2),),
        )
        for kind, what, demonstrates in CUTS
    ),
    Scenario(
        name="far_database",
        what="every packet from and to the database takes 50 ms longer",
        demonstrates="a design is as slow as the number of its round trips for each notification",
        hardest_for="push_readmodel",
        workers=2,
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(
            PlannedFault(fault="f1", kind="far_database", target="database", inject_s=2.2, heal_s=10.2, size_s=FAR_S),
        ),
    ),
    Scenario(
        name="slow_host",
        what="the host of one of two workers gives it a tenth of its time, for 4 s",
        demonstrates="a slow worker keeps what it has claimed, while a fast one beside it has nothing to do",
        hardest_for="pull_worker",
        workers=2,
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="slow_host", target="worker-1", inject_s=4.2, heal_s=8.2),),
    ),
)
"""See docs/faults.md."""
