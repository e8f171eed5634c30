"""Builds faults from planned faults, with the processes and services of a run as their targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TypeVar, assert_never

from duetime.errors import HarnessError
from duetime.faults.application import ClientKill, OldTransaction
from duetime.faults.broker_failover import BrokerFailover
from duetime.faults.clock_skew import ClockSkew
from duetime.faults.database import (
    ConnectionsUsedUp,
    SessionsTerminated,
    SettingsChanged,
    TablesLocked,
    TablesRewritten,
)
from duetime.faults.deploy_kill import DeployKill
from duetime.faults.failover import Failover, OldPrimaryReturns
from duetime.faults.fault import Fault
from duetime.faults.gateway import GatewayFault
from duetime.faults.hosts import FarDatabase, HostCut, HostVanishes, SlowHost
from duetime.faults.mechanisms.faketime import SkewedClock
from duetime.faults.mechanisms.host_network import HostNetwork
from duetime.faults.mechanisms.memory_group import MemoryGroup
from duetime.faults.network import Interruption, Partition
from duetime.faults.pooler import PoolerKill
from duetime.faults.resources import (
    BrokerDiskFull,
    DescriptorsUsedUp,
    DiskFull,
    MemoryLimit,
    TableDiskFull,
    disconnect,
    extend_log,
)
from duetime.faults.restore import Restore
from duetime.faults.service import ServiceKill, UnflushedKill
from duetime.faults.worker import AddWorker, Deploy, KillWorkers, PauseWorkers, RemoveWorker
from duetime.harness.plan.plan import UNFLUSHED_S, Environment, PlannedFault
from duetime.harness.processes.client_process import ClientProcess
from duetime.harness.processes.hosts import BROKER, DATABASE
from duetime.harness.processes.replication import Backup, unflushed_bytes
from duetime.harness.processes.services import Endpoints
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.harness.runs.fault_targets import TargetSelector
from duetime.runtime.gateway_faults import InjectedGatewayFault, Mode
from duetime.urls import libpq_url

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultTargets:
    """The processes and services of one run into which faults can be injected.

    clocks: of the workers whose clock a fault can move. gateway_fault: the file from which gateways read their fault.
    environment: the settings of the services. memory: of the workers whose memory a fault limits.
    """

    selector: TargetSelector
    endpoints: Endpoints
    workers: Mapping[str, WorkerProcess]
    clocks: Mapping[str, SkewedClock]
    clients: Mapping[str, ClientProcess]
    gateway_fault: Path
    environment: Environment
    memory: Mapping[str, MemoryGroup] = field(default_factory=dict)


def make_fault(planned: PlannedFault, targets: FaultTargets) -> Fault:
    """Build the fault that `planned` describes.

    Raises:
        HarnessError: the run has no such target.
    """
    lasts_s = planned.heal_s - planned.inject_s
    # A demo does not know when it will heal.
    wait_s = lasts_s if isfinite(lasts_s) else 0.0
    match planned.kind:
        case "kill":
            return KillWorkers(targets.selector.named(planned.target, within_s=wait_s))
        case "deploy":
            return Deploy(targets.selector.named(planned.target))
        case "deploy_kill":
            choose = targets.selector.named(planned.target, within_s=wait_s)
            return DeployKill(choose, targets.selector.named("all"), grace_s=planned.size_s)
        case "pause":
            return PauseWorkers(targets.selector.named(planned.target, within_s=wait_s))
        case "worker_added":
            return AddWorker(_worker(planned, targets))
        case "worker_removed":
            return RemoveWorker(targets.selector.named(planned.target))
        case "database_kill" | "broker_kill":
            service = targets.endpoints.database if planned.kind == "database_kill" else targets.endpoints.broker
            if planned.kind == "database_kill" and not targets.environment.flushes_commits:
                unflushed = partial(unflushed_bytes, targets.endpoints.database_url)
                return UnflushedKill(_existing(service, planned), unflushed, flushed_after_s=UNFLUSHED_S)
            return ServiceKill(_existing(service, planned))
        case "pooler_kill":
            return PoolerKill(_existing(targets.endpoints.pooler, planned))
        case "failover":
            synchronous = targets.environment.replication == "synchronous"
            return Failover(_existing(targets.endpoints.replicated, planned), synchronous=synchronous)
        case "disk_full" | "broker_disk_full":
            return _disk_full(planned, targets.endpoints)
        case "old_primary_returns":
            return OldPrimaryReturns(_existing(targets.endpoints.replicated, planned))
        case "broker_failover":
            refuses = targets.environment.broker_replication == "min_replicas"
            return BrokerFailover(_existing(targets.endpoints.replicated_broker, planned), refuses=refuses)
        case "cut" | "refuse" | "freeze":
            return Interruption(_existing(targets.endpoints.links.get(planned.target), planned), planned.kind)
        case "gateway_slow" | "gateway_refuse" | "gateway_hang" | "gateway_lose_answer":
            gateway_fault = InjectedGatewayFault(mode=MODES[planned.kind], seconds=planned.size_s, only=planned.only)
            return GatewayFault(gateway_fault, targets.gateway_fault, within_s=lasts_s)
        case "client_kill":
            return ClientKill(_existing(targets.clients.get(planned.target), planned), within_s=lasts_s)
        case "restore":
            database = _existing(targets.endpoints.database, planned)
            tempdir = database.directory.parent
            return Restore(database, Backup(database, targets.endpoints.database_url, tempdir=tempdir))
        case (
            "old_transaction"
            | "sessions_terminated"
            | "tables_locked"
            | "tables_rewritten"
            | "connections_used_up"
            | "settings_changed"
        ):
            return ON_DATABASE[planned.kind](libpq_url(targets.endpoints.database_url))
        case "memory_limit":
            return MemoryLimit(_worker(planned, targets), _existing(targets.memory.get(planned.target), planned))
        case "descriptors_used_up":
            urls = libpq_url(targets.endpoints.database_url), targets.endpoints.broker_url
            return DescriptorsUsedUp(_worker(planned, targets), partial(disconnect, *urls))
        case "partition":
            return Partition(_existing(targets.endpoints.network_link, planned), targets.endpoints.broker_answers)
        case "clock":
            clock = _existing(targets.clocks.get(planned.target), planned)
            return ClockSkew(clock, planned.size_s, targets.workers[planned.target].pids)
        case "slow_host":
            return SlowHost(planned.target, _worker(planned, targets).pids)
        case "host_vanishes":
            network = _existing(targets.endpoints.hosts, planned)
            choose = targets.selector.named(planned.target, within_s=wait_s)
            return HostVanishes(choose, network.host, network.host(DATABASE))
        case "cut_from_database" | "cut_from_broker" | "half_cut" | "far_database":
            return _between_hosts(planned, _existing(targets.endpoints.hosts, planned))
        case _:
            assert_never(planned.kind)


def _between_hosts(planned: PlannedFault, network: HostNetwork) -> Fault:
    database, broker = network.host(DATABASE), network.host(BROKER)
    if planned.kind == "far_database":
        return FarDatabase(_existing(network.far_host(DATABASE), planned), broker, planned.size_s)
    service, other = (broker, database) if planned.kind == "cut_from_broker" else (database, broker)
    return HostCut(network.host(planned.target), service, other, answers_only=planned.kind == "half_cut")


def _worker(planned: PlannedFault, targets: FaultTargets) -> WorkerProcess:
    return _existing(targets.workers.get(planned.target), planned)


def _disk_full(planned: PlannedFault, endpoints: Endpoints) -> Fault:
    disk = _existing(endpoints.disks.get(planned.target), planned)
    if planned.kind == "broker_disk_full":
        return BrokerDiskFull(_existing(endpoints.broker, planned), disk, endpoints.broker_url)
    database, url = _existing(endpoints.database, planned), libpq_url(endpoints.database_url)
    if planned.target == "pg_wal":
        return DiskFull(database, disk, partial(extend_log, database, url), holds="the database's log")
    return TableDiskFull(database, disk, url)


ON_DATABASE: Mapping[str, Callable[[str], Fault]] = {
    "old_transaction": OldTransaction,
    "sessions_terminated": SessionsTerminated,
    "tables_locked": TablesLocked,
    "tables_rewritten": TablesRewritten,
    "connections_used_up": ConnectionsUsedUp,
    "settings_changed": SettingsChanged,
}
"""Faults that need only the database's URL."""
MODES: Mapping[str, Mode] = {
    "gateway_slow": "slow",
    "gateway_refuse": "refuse",
    "gateway_hang": "hang",
    "gateway_lose_answer": "lose_answer",
}


def fault_maker(targets: FaultTargets) -> Callable[[PlannedFault], Fault]:
    return partial(make_fault, targets=targets)


def _existing(target: T | None, planned: PlannedFault) -> T:
    if target is None:
        raise HarnessError(
            f"{planned.fault}: this run has no {planned.target} that {planned.kind} can be injected into"
        )
    return target
