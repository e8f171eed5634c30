"""Rejects runs that would prove nothing: a fault without a target is not applicable, never a pass."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, inf

from duetime.faults.mechanisms import faketime, host_network, memory_group, network_namespace, small_disk
from duetime.harness.plan.plan import ON_HOSTS, Plan
from duetime.harness.processes import pooler
from duetime.harness.processes.services import Services
from duetime.interface import MIGRATION_SEPARATOR, Design
from duetime.runtime.delivery_phases import PHASE_OF_TARGET

BROKER_FAULTS = {"broker_kill", "broker_failover", "broker_disk_full", "partition", "cut_from_broker"}
LINK_FAULTS = {"cut", "refuse", "freeze"}
KILLS = {"kill", "deploy_kill", "host_vanishes"}
WORKER_FAULTS = {
    *(*KILLS, "deploy", "pause", "clock", "worker_added", "worker_removed"),
    *("memory_limit", "descriptors_used_up"),
    *("cut_from_database", "cut_from_broker", "half_cut", "slow_host"),
}
SELECTED_LATER = {"all", *PHASE_OF_TARGET}
DISK_FAULTS = {"disk_full", "broker_disk_full"}
EMBEDDED_ONLY = {
    *("database_kill", "failover", "old_primary_returns", "restore", "pooler_kill"),
    *("broker_kill", "broker_failover", "partition", *DISK_FAULTS, "descriptors_used_up", *ON_HOSTS),
}
"""Faults that are injected into a database server, its pooler or a broker itself, never into one of the user's."""
EMBEDDED_ONLY_REASON = (
    "is injected into embedded servers only; unset DUETIME_DATABASE_URL and DUETIME_BROKER_URL to use them"
)


def not_applicable_reason(plan: Plan, design: Design, services: Services) -> str | None:
    """The reason why a run of `plan` proves nothing about `design` on this machine; None if it can be run."""
    return next(_reasons(plan, design, services), None)


def _reasons(plan: Plan, design: Design, services: Services) -> Iterator[str]:
    kinds = {fault.kind for fault in plan.faults}
    broker = kinds & BROKER_FAULTS or any(f.kind in LINK_FAULTS and f.target == "broker" for f in plan.faults)
    if kinds & WORKER_FAULTS and not design.roles:
        yield "this design has no worker that the fault could hit"
    if broker and not design.uses_broker:
        yield "no process of this design connects to the broker"
    if own := next((service.name for service in design.services if service.is_broker), None):
        if plan.needs_isolated_broker():
            yield f"this design's broker is {own}, which a run cannot start in a network of its own; broker_blip_long"
        if "broker_disk_full" in kinds:
            yield f"this design's broker is {own}, and the fault is one of Valkey's append-only file"
        if "broker_kill" in kinds and plan.environment.broker_persistence != "aof":
            yield f"this design's broker is {own}, which stores what it confirms; broker_restart_aof"
        if "broker_failover" in kinds:
            yield f"this design's broker is {own}, of which a run starts no replica"
    if external := sorted(kinds & EMBEDDED_ONLY) if not services.embedded else []:
        yield f"{', '.join(external)} {EMBEDDED_ONLY_REASON}"
    if plan.environment.replication != "none" and design.contender:
        yield "its adapter takes one address of a database, and this one has two"
    if plan.environment.pooler != "none":
        yield from _no_pooler(plan, design, services)
    if plan.environment.broker_replication != "none" and design.contender:
        yield "its adapter takes the address of a broker, and this one is found through Sentinel"
    if "clock" in kinds and (reason := faketime.unavailable()):
        yield f"this machine cannot move a worker's clock: {reason}"
    if "partition" in kinds and (reason := network_namespace.unavailable()):
        yield f"this machine cannot partition the network: {reason}"
    if plan.needs_hosts():
        if own := next((service.name for service in design.services), None):
            yield f"its {own} listens on this machine's loopback, which workers on other hosts do not reach"
        if reason := host_network.unavailable():
            yield f"this machine cannot have hosts: {reason}"
    if kinds & DISK_FAULTS and (reason := small_disk.unavailable()):
        yield f"this machine cannot fill a disk of one service: {reason}"
    if "memory_limit" in kinds and (reason := memory_group.unavailable()):
        yield f"this machine cannot limit a worker's memory: {reason}"
    yield from _wrong_migration(plan, design)
    yield from too_short_for_recovery(plan, design)
    roles = {role.name for role in design.roles}
    for fault in plan.faults:
        by_name = fault.kind in WORKER_FAULTS and fault.target not in SELECTED_LATER
        if by_name and fault.target.rpartition("-")[0] not in roles:
            yield f"this design has no {fault.target} for {fault.kind}"


def _no_pooler(plan: Plan, design: Design, services: Services) -> Iterator[str]:
    if services.external_database_url:
        yield "a run puts a pooler before an embedded database only; unset DUETIME_DATABASE_URL to use it"
    if plan.environment.replication != "none":
        yield "a pooler leads to one database server, and this database has two"
    if plan.environment.pooler == "transaction" and design.contender:
        yield "its adapter is not configured for sessions that are lent for one transaction; pooler_session"
    if reason := pooler.unavailable():
        yield f"this machine cannot put a pooler before the database: {reason}"


def too_short_for_recovery(plan: Plan, design: Design) -> Iterator[str]:
    """A run that ends before a design rescues what a dead worker held cannot show whether it does."""
    rescued_s = design.guarantees.recovers_within_s
    # A worker killed while it delivers holds notifications; one that is killed at another time may hold none.
    kills_s = [fault.inject_s for fault in plan.faults if fault.kind in KILLS and fault.target in PHASE_OF_TARGET]
    left_s = plan.judged_until_s() - max(kills_s, default=-inf)
    if rescued_s > left_s:
        factor = ceil(rescued_s / left_s * plan.slow)
        minutes = ceil(plan.judged_until_s() / plan.slow * factor / 60)
        tuned = "" if design.name.endswith(":tuned") else "a tuned variant, or "
        yield (
            f"what a dead worker held is promised within {rescued_s:g} s, and the run ends {left_s:.0f} s after the "
            f"kill; judge {tuned}a longer run: --slow {factor}, about {minutes} min"
        )


def _wrong_migration(plan: Plan, design: Design) -> Iterator[str]:
    if MIGRATION_SEPARATOR in design.name and any(operation.do == "migrate" for operation in plan.operations):
        stopped = any(fault.kind == "worker_removed" for fault in plan.faults)
        if design.migrates_stopped and not stopped:
            yield "its old workers have to be stopped before: migration_stopped"
        if stopped and not design.migrates_stopped:
            yield "what is due in a moment is left to its old workers, which have to be up: migration"
