"""From a planned fault to one that can be done: what it is done to is known only once a run has its processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar, assert_never

from sqlalchemy import make_url

from duetime.errors import HarnessError
from duetime.faults.application import ClientKill, OldTransaction
from duetime.faults.clock_skew import ClockSkew
from duetime.faults.fault import Fault
from duetime.faults.gateway import GatewayFault
from duetime.faults.mechanisms.faketime import SkewedClock
from duetime.faults.network import Interruption, Partition
from duetime.faults.service import ServiceKill
from duetime.faults.worker import AddWorker, Deploy, KillWorkers, PauseWorkers, RemoveWorker
from duetime.harness.plan.plan import PlannedFault
from duetime.harness.processes.client_process import ClientProcess
from duetime.harness.processes.services import Endpoints
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.harness.runs.fault_targets import TargetSelector
from duetime.runtime.gateway_faults import InjectedGatewayFault, Mode

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultTargets:
    """Everything in one run that a fault may be done to.

    clocks: of the servers whose clock can be moved. trouble: the file by which the gateways hear of trouble.
    """

    targets: TargetSelector
    endpoints: Endpoints
    workers: Mapping[str, WorkerProcess]
    clocks: Mapping[str, SkewedClock]
    clients: Mapping[str, ClientProcess]
    gateway_fault: Path


def make_fault(planned: PlannedFault, hurt: FaultTargets) -> Fault:
    """The fault that `planned` describes, in this run."""
    lasts_s = planned.heal_s - planned.inject_s
    match planned.kind:
        case "kill":
            return KillWorkers(hurt.targets.named(planned.target))
        case "deploy":
            return Deploy(hurt.targets.named(planned.target))
        case "pause":
            return PauseWorkers(hurt.targets.named(planned.target))
        case "worker_added":
            return AddWorker(_there(hurt.workers.get(planned.target), planned))
        case "worker_removed":
            return RemoveWorker(hurt.targets.named(planned.target))
        case "database_kill" | "broker_kill":
            service = hurt.endpoints.database if planned.kind == "database_kill" else hurt.endpoints.broker
            return ServiceKill(_there(service, planned))
        case "cut" | "refuse" | "freeze":
            return Interruption(_there(hurt.endpoints.links.get(planned.target), planned), planned.kind)
        case "gateway_slow" | "gateway_refuse" | "gateway_hang" | "gateway_lose_answer":
            gateway_fault = InjectedGatewayFault(mode=MODES[planned.kind], seconds=planned.size_s, only=planned.only)
            return GatewayFault(gateway_fault, hurt.gateway_fault, within_s=lasts_s)
        case "client_kill":
            return ClientKill(_there(hurt.clients.get(planned.target), planned), within_s=lasts_s)
        case "old_transaction":
            plain = make_url(hurt.endpoints.database_url).set(drivername="postgresql")
            return OldTransaction(plain.render_as_string(hide_password=False))
        case "partition":
            return Partition(_there(hurt.endpoints.network_link, planned), hurt.endpoints.broker_answers)
        case "clock":
            clock = _there(hurt.clocks.get(planned.target), planned)
            return ClockSkew(clock, planned.size_s, hurt.workers[planned.target].pids)
        case _:
            assert_never(planned.kind)


MODES: Mapping[str, Mode] = {
    "gateway_slow": "slow",
    "gateway_refuse": "refuse",
    "gateway_hang": "hang",
    "gateway_lose_answer": "lose_answer",
}


def maker(hurt: FaultTargets) -> Callable[[PlannedFault], Fault]:
    return partial(make_fault, hurt=hurt)


def _there(thing: T | None, planned: PlannedFault) -> T:
    if thing is None:
        raise HarnessError(f"{planned.fault}: this run has no {planned.target} that it may hurt by {planned.kind}")
    return thing
