"""Whether a plan says anything about a design here: a fault without anything to hit is not applicable, never a pass."""

from __future__ import annotations

from collections.abc import Iterator

from duetime.faults.mechanisms import faketime, network_namespace
from duetime.harness.plan.plan import Plan
from duetime.harness.processes.services import Services
from duetime.interface import MIGRATION_SEPARATOR, Design

OF_THE_BROKER = {"broker_kill", "partition"}
OF_THE_LINKS = {"cut", "refuse", "freeze"}
OF_WORKERS = {"kill", "deploy", "pause", "clock", "worker_added", "worker_removed"}
CHOSEN_LATER = {"all", "delivering"}
OF_OUR_OWN = {"database_kill", "broker_kill", "partition"}
"""Faults of a service that are done to the service itself, which therefore has to be ours."""


def not_applicable_reason(plan: Plan, design: Design, services: Services) -> str | None:
    """The reason for which this run would prove nothing, known before it is begun; None if it can be run."""
    return next(_reasons(plan, design, services), None)


def _reasons(plan: Plan, design: Design, services: Services) -> Iterator[str]:
    kinds = {fault.kind for fault in plan.faults}
    broker = kinds & OF_THE_BROKER or any(f.kind in OF_THE_LINKS and f.target == "broker" for f in plan.faults)
    if kinds & OF_WORKERS and not design.roles:
        yield "this design runs no server that the fault could hit"
    if broker and not design.uses_broker:
        yield "nothing of this design talks to the broker"
    if own := sorted(kinds & OF_OUR_OWN) if not services.own else []:
        yield (
            f"{', '.join(own)} is not done to servers of your own; unset DUETIME_DATABASE_URL and DUETIME_BROKER_URL "
            "to have embedded ones hurt"
        )
    if "clock" in kinds and (reason := faketime.unavailable()):
        yield f"this machine cannot move a server's clock: {reason}"
    if "partition" in kinds and (reason := network_namespace.unavailable()):
        yield f"this machine cannot cut a server off: {reason}"
    yield from _cannot_be_swapped(plan, design)
    roles = {role.name for role in design.roles}
    for fault in plan.faults:
        named = fault.kind in OF_WORKERS and fault.target not in CHOSEN_LATER
        if named and fault.target.rpartition("-")[0] not in roles:
            yield f"this design has no {fault.target} for {fault.kind}"


def _cannot_be_swapped(plan: Plan, design: Design) -> Iterator[str]:
    if MIGRATION_SEPARATOR in design.name and any(operation.do == "migrate" for operation in plan.operations):
        stopped = any(fault.kind == "worker_removed" for fault in plan.faults)
        if design.check_can_migrate and not stopped:
            yield "its old servers have to be stopped before: migration_stopped"
        if stopped and not design.check_can_migrate:
            yield "what is due in a moment is left to its old servers, which have to be up: migration"
