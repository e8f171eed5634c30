"""All scenarios, in the order in which they are listed."""

from __future__ import annotations

from duetime.harness.plan.fault_scenarios import DEFAULT, GATEWAY, SERVICES, WORKERS
from duetime.harness.plan.workload_scenarios import CAPACITY, CLOCKS, LOAD, ON_REQUEST, USE_CASES

__all__ = [
    "ALL",
    "CAPACITY",
    "CLOCKS",
    "DEFAULT",
    "FULL",
    "GATEWAY",
    "LOAD",
    "ON_REQUEST",
    "SERVICES",
    "USE_CASES",
    "WORKERS",
]

FULL = (*DEFAULT, *WORKERS, *SERVICES, *CLOCKS, *LOAD, *GATEWAY, *USE_CASES)
"""The scenarios of a full comparison."""
ALL = (*FULL, *ON_REQUEST, *CAPACITY)
