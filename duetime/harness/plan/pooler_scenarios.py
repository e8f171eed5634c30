"""Scenarios with a connection pooler between every process and the database."""

from __future__ import annotations

from duetime.harness.plan.plan import Environment, PlannedFault, PoolMode
from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import mixed_events

MODES: tuple[tuple[PoolMode, str], ...] = (
    (
        "transaction",
        "no NOTIFY arrives, and no lock, setting or prepared statement of a session survives a transaction",
    ),
    ("session", "a client keeps its session, until the pooler dies with every connection"),
)

# No limit of its own: without its wake-ups a design may check once a second, as a poller does.
POOLER = tuple(
    Scenario(
        name=f"pooler_{mode}",
        what=f"every process reaches the database through pgbouncer in {mode} mode, which is killed and restarted",
        demonstrates=demonstrates,
        hardest_for="push_readmodel",
        operations=lambda random: mixed_events(random, seconds=9, horizon_s=4),
        faults=(PlannedFault(fault="f1", kind="pooler_kill", target="pooler", inject_s=5.2, heal_s=6.6),),
        environment=Environment(pooler=mode),
    )
    for mode, demonstrates in MODES
)
