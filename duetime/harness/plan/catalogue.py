"""All scenarios, in the order in which they are listed."""

from __future__ import annotations

from duetime.harness.plan.fault_scenarios import DEFAULT, GATEWAY, SERVICES, WORKERS
from duetime.harness.plan.host_scenarios import HOSTS
from duetime.harness.plan.production_scenarios import DATABASE
from duetime.harness.plan.workload_scenarios import CAPACITY, CLOCKS, LOAD, ON_REQUEST, USE_CASES

__all__ = [
    "ALL",
    "CAPACITY",
    "CLOCKS",
    "CONFORMANCE",
    "DEFAULT",
    "FULL",
    "GATEWAY",
    "LOAD",
    "ON_REQUEST",
    "PRODUCTION",
    "SERVICES",
    "USE_CASES",
    "WORKERS",
]

PRODUCTION = (*DATABASE, *HOSTS)
"""Faults of production that most machines of a test do not have."""
FULL = (*DEFAULT, *WORKERS, *SERVICES, *CLOCKS, *LOAD, *GATEWAY, *USE_CASES)
"""The scenarios of a full comparison."""
CONFORMANCE = tuple(
    scenario
    for scenario in FULL
    if scenario.name in ("calm", "more_servers", "downtime", "crash", "dual_write", "move_and_cancel")
)
"""The scenarios of `duetime conform`: deliveries, faults of workers and of the application, and cancels."""
ALL = (*FULL, *PRODUCTION, *ON_REQUEST, *CAPACITY)
"""Those of `PRODUCTION` run only if they are named, because most of them start servers that others do not need."""
