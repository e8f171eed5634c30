"""Checks what this machine can do: one run in which every kind of fault is injected once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import get_args

from duetime import registry
from duetime.errors import DuetimeError, HarnessError
from duetime.faults.fault import FAULT_KINDS, FaultKind
from duetime.faults.mechanisms import faketime, host_network, memory_group, network_namespace, small_disk
from duetime.harness.plan.plan import ON_HOSTS, Environment, PlannedFault, Profile
from duetime.harness.plan.scenario import SIDE_BY_SIDE, Scenario
from duetime.harness.plan.workload import unchanged_events
from duetime.harness.processes import pooler
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.database_clock import measure_database_clock
from duetime.harness.processes.external_services import without_password
from duetime.harness.processes.fork_server import fork_server
from duetime.harness.processes.services import Services
from duetime.harness.runs.applicability import EMBEDDED_ONLY, EMBEDDED_ONLY_REASON
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.run import Run
from duetime.harness.runs.run_directory import RunDirectory
from duetime.harness.runs.spec import RunSpec
from duetime.harness.runs.start_barrier import StartBarrier

DESIGN = "push_readmodel"
"""It uses both the database and the broker."""
TARGETS: Mapping[FaultKind, str] = {
    "kill": "worker-1",
    "deploy": "all",
    "deploy_kill": "before_delivery",
    "pause": "worker-1",
    "worker_added": "worker-2",
    "worker_removed": "worker-1",
    "clock": "worker-1",
    "client_kill": "client-0",
    "database_kill": "database",
    "failover": "database",
    "old_primary_returns": "database",
    "old_transaction": "database",
    "sessions_terminated": "database",
    "tables_locked": "database",
    "tables_rewritten": "database",
    "connections_used_up": "database",
    "settings_changed": "database",
    "restore": "database",
    "pooler_kill": "pooler",
    "disk_full": "pg_wal",
    "memory_limit": "worker-1",
    "descriptors_used_up": "worker-1",
    "broker_kill": "broker",
    "broker_disk_full": "broker",
    "broker_failover": "broker",
    "cut": "broker",
    "refuse": "broker",
    "freeze": "broker",
    "host_vanishes": "worker-1",
    "cut_from_database": "worker-1",
    "cut_from_broker": "worker-1",
    "half_cut": "worker-1",
    "far_database": "database",
    "slow_host": "worker-1",
}
"""The target of each kind; the gateway for all others."""
FIRST: tuple[FaultKind, ...] = (
    *("client_kill", "restore", "gateway_slow", "gateway_refuse", "gateway_hang", "gateway_lose_answer"),
    *("freeze", "refuse", "cut", "broker_kill"),
)
"""Injected first: while a client has something left to commit, while something is left to deliver, and while a worker
is connected to the broker."""
FAILOVER: tuple[FaultKind, ...] = ("failover", "old_primary_returns")
"""In a run of their own, with two database servers."""
BROKER_FAILOVER: tuple[FaultKind, ...] = ("broker_failover",)
"""In a run of its own, with two brokers and their Sentinels."""
POOLED: tuple[FaultKind, ...] = ("pooler_kill",)
"""In a run of its own, behind a pooler."""
DISKS: tuple[FaultKind, ...] = ("disk_full", "broker_disk_full")
"""In a run of their own, with small disks and an append-only file."""
OWN_RUNS: Sequence[Sequence[FaultKind]] = (FAILOVER, BROKER_FAILOVER, POOLED, DISKS, ON_HOSTS)
UNAVAILABLE: Mapping[FaultKind, Callable[[], str | None]] = {
    "clock": faketime.unavailable,
    "partition": network_namespace.unavailable,
    "pooler_kill": pooler.unavailable,
    "disk_full": small_disk.unavailable,
    "broker_disk_full": small_disk.unavailable,
    "memory_limit": memory_group.unavailable,
    **dict.fromkeys(ON_HOSTS, host_network.unavailable),
}
"""Returns why this machine cannot inject the fault, or None."""
Seen = tuple[bool, str]
"""Whether a fault was verified and healed, and the evidence, or why not."""
EVERY_S = 1.7
LASTS_S = 1.5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that runs need: whether it works on this machine, and the evidence."""

    what: str
    ok: bool
    detail: str


def examine() -> Iterator[Check]:
    """Start both servers, then inject every kind of fault; yield a check for each."""
    yield Check("python", sys.version_info >= (3, 11), sys.version.split()[0])
    with run_tempdir() as tempdir, fork_server(tempdir) as clients:
        services = Services(tempdir)
        try:
            context = RunContext(tempdir, services, services.prepare(side_by_side=1), CancelToken(), clients)
            with services.for_run("doctor", 0) as endpoints:
                database, broker = without_password(endpoints.database_url), without_password(endpoints.broker_url)
            yield Check("PostgreSQL", True, f"{context.versions['postgresql']} answers at {database}")
            if own_server := services.external_database_url:
                yield clock_check(own_server)
            yield Check("Valkey or Redis", True, f"{context.versions['broker']} answers at {broker}")
            yield from _faults(context)
        except (DuetimeError, OSError) as error:
            yield Check("PostgreSQL and Valkey", False, str(error))


def clock_check(url: str) -> Check:
    """Return whether the clock of the PostgreSQL at `url` is close enough to this machine's for a verdict on timing.

    Raises:
        ServiceUnavailable: it does not answer.
    """
    reading = measure_database_clock(url)
    error_ns = abs(reading.ahead_ns)
    side = "ahead of" if reading.ahead_ns > 0 else "behind"
    detail = f"{error_ns / 1e6:.1f} ms {side} this machine's (± {reading.uncertainty_ns / 1e6:.1f} ms)"
    tolerance_ns = Profile(lateness_limit_s=0.0).early_tolerance_s * 1e9
    if error_ns + reading.uncertainty_ns <= tolerance_ns:
        return Check("clock of PostgreSQL", True, detail)
    remedy = "synchronise both machines, or unset DUETIME_DATABASE_URL; until then runs are unknown"
    return Check("clock of PostgreSQL", False, f"{detail}, more than {tolerance_ns / 1e6:.0f} ms; {remedy}")


def _faults(context: RunContext) -> Iterator[Check]:
    reasons = {
        kind: reason for kind in get_args(FaultKind) if (reason := _not_injectable_reason(kind, context.services))
    }
    # `unavailable()` has already injected and healed a partition, on a server of its own.
    kinds = [kind for kind in get_args(FaultKind) if kind not in (*reasons, *chain(*OWN_RUNS), "partition")]
    # The only worker is removed last.
    kinds.sort(key=lambda kind: FIRST.index(kind) if kind in FIRST else len(FIRST) + (kind == "worker_removed"))
    groups = [kinds, *(group for group in OWN_RUNS if not reasons.keys() & set(group))]
    found = {kind: seen for group in _side_by_side(groups, context) for kind, seen in group.items()}
    for kind in get_args(FaultKind):
        what = f"fault {kind} ({FAULT_KINDS[kind].title})"
        if kind in reasons:
            yield Check(what, False, reasons[kind])
        elif kind == "partition":
            yield Check(what, True, "a server on a network of its own was partitioned, and reached again")
        else:
            yield Check(what, *found[kind])


def _not_injectable_reason(kind: FaultKind, services: Services) -> str | None:
    if kind in EMBEDDED_ONLY and not services.embedded:
        return EMBEDDED_ONLY_REASON
    unavailable = UNAVAILABLE.get(kind)
    return unavailable() if unavailable else None


def _side_by_side(groups: Sequence[Sequence[FaultKind]], context: RunContext) -> Sequence[Mapping[FaultKind, Seen]]:
    """Return what `_inject_all` returns for each of `groups`."""
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        try:
            return list(pool.map(lambda kinds: _inject_all(kinds, context), groups))
        except BaseException:
            # Otherwise the runs would go on to their end.
            context.stop.set()
            raise


def _inject_all(kinds: Sequence[FaultKind], context: RunContext) -> dict[FaultKind, Seen]:
    """Inject one fault of each of `kinds` in one run; return what was seen of each."""
    scenario = Scenario(
        name=f"doctor-{kinds[0]}",
        what="one fault of every kind, one after another",
        demonstrates="what this machine can do",
        hardest_for="every design",
        operations=lambda random: unchanged_events(random, seconds=int(len(kinds) * EVERY_S) + 14, horizon_s=2),
        faults=tuple(
            PlannedFault(
                fault=kind,
                kind=kind,
                target=TARGETS.get(kind, "gateway"),
                inject_s=1.0 + number * EVERY_S,
                heal_s=1.0 + number * EVERY_S + LASTS_S,
                size_s=0.5,
            )
            for number, kind in enumerate(kinds)
        ),
        profile=Profile(lateness_limit_s=0.0, grace_s=0.0),
        environment=Environment(
            replication="asynchronous" if "failover" in kinds else "none",
            pooler="transaction" if "pooler_kill" in kinds else "none",
            broker_persistence="aof" if "broker_disk_full" in kinds else "default",
            broker_replication="asynchronous" if "broker_failover" in kinds else "none",
        ),
    )
    spec = RunSpec(
        design=registry.load(DESIGN),
        design_name=DESIGN,
        plan=scenario.plan(1),
        directory=context.tempdir / scenario.name,
        slot=0,
        context=context,
    )
    run, stopped = Run(spec), "the run ended before it"
    try:
        run.carry_out(StartBarrier(1, context.stop).wait)
    except HarnessError as error:
        # The evidence recorded before an error still counts.
        stopped = str(error)
    verified = evidence(RunDirectory(spec).faults)
    reasons = {each.partition(" ")[0]: each.partition("): ")[2] for each in run.unverified}
    return {
        kind: (True, verified[kind]) if kind in verified else (False, f"not verified: {reasons.get(kind, stopped)}")
        for kind in kinds
    }


def evidence(faults: Path) -> dict[str, str]:
    """The evidence for each fault whose injection and healing were verified, by kind."""
    records = [json.loads(line) for line in faults.read_text().splitlines()]
    healed = {record["fault"] for record in records if record["phase"] == "healed"}
    verified = [record for record in records if record["phase"] == "observed" and record["fault"] in healed]
    return {record["kind"]: record["evidence"] for record in verified}
