"""All scenarios, in the order in which they are listed."""

from __future__ import annotations

from duetime.harness.plan.broker_scenarios import BROKER_FAILOVER
from duetime.harness.plan.fault_scenarios import DEFAULT, GATEWAY, SERVICES, WORKERS
from duetime.harness.plan.host_scenarios import HOSTS
from duetime.harness.plan.pooler_scenarios import POOLER
from duetime.harness.plan.production_scenarios import DATABASE
from duetime.harness.plan.resource_scenarios import RESOURCES
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
    "PRODUCTION_GROUPS",
    "SERVICES",
    "USE_CASES",
    "WORKERS",
]

FULL = (*DEFAULT, *WORKERS, *SERVICES, *CLOCKS, *LOAD, *GATEWAY, *USE_CASES)
"""The scenarios of a full comparison."""
PRODUCTION_GROUPS = {
    "production": DATABASE,
    "pooler": POOLER,
    "broker": BROKER_FAILOVER,
    "resources": RESOURCES,
    "hosts": HOSTS,
}
"""By the name of their table in docs/findings.md."""
PRODUCTION = tuple(scenario for group in PRODUCTION_GROUPS.values() for scenario in group)
"""They run only if they are named, because most of them start servers or networks that others do not need."""
CONFORMANCE = tuple(
    scenario
    for scenario in FULL
    if scenario.name in ("calm", "more_servers", "downtime", "crash", "dual_write", "move_and_cancel")
)
"""The scenarios of `duetime conform`: deliveries, faults of workers and of the application, and cancels."""
ALL = (*FULL, *PRODUCTION, *ON_REQUEST, *CAPACITY)
