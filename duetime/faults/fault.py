"""Kinds of faults, and the steps of every fault: prepare, inject, verify_injected, heal, verify_healed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

FaultKind = Literal[
    "kill",
    "deploy",
    "deploy_kill",
    "pause",
    "worker_added",
    "worker_removed",
    "database_kill",
    "failover",
    "old_primary_returns",
    "sessions_terminated",
    "tables_locked",
    "tables_rewritten",
    "connections_used_up",
    "settings_changed",
    "restore",
    "pooler_kill",
    "disk_full",
    "broker_kill",
    "broker_disk_full",
    "broker_failover",
    "cut",
    "refuse",
    "freeze",
    "partition",
    "memory_limit",
    "descriptors_used_up",
    "clock",
    "gateway_slow",
    "gateway_refuse",
    "gateway_hang",
    "gateway_lose_answer",
    "client_kill",
    "old_transaction",
    "host_vanishes",
    "cut_from_database",
    "cut_from_broker",
    "half_cut",
    "far_database",
    "slow_host",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKindInfo:
    """Title and colour of a kind of fault in reports, and the time that a recovery from it may take.

    recovery_budget_s: counted from the verified healing; a comment names the mechanism that needs the time.
    excuses: True if the fault excuses late deliveries while it is active.
    """

    title: str
    colour: str
    recovery_budget_s: float
    excuses: bool = True


RECONNECT_S = 12.0
"""A Celery worker reconnects after 2, 4 and 6 s; one that ended is restarted, which takes 5 s."""

FAULT_KINDS: Final[Mapping[FaultKind, FaultKindInfo]] = {
    "kill": FaultKindInfo(title="workers killed", colour="#d62728", recovery_budget_s=1.0),
    "deploy": FaultKindInfo(title="workers restarted one by one", colour="#ff7f0e", recovery_budget_s=1.0),
    "deploy_kill": FaultKindInfo(title="worker killed when its grace is over", colour="#b5460f", recovery_budget_s=1.0),
    # Timers and leases that expired during the pause are handled one after another.
    "pause": FaultKindInfo(title="worker paused", colour="#bcbd22", recovery_budget_s=2.0),
    # Not a failure: reports show when the worker was added and removed.
    "worker_added": FaultKindInfo(title="worker added", colour="#2e8b57", recovery_budget_s=1.0, excuses=False),
    # Another worker has to take over the notifications of the removed one.
    "worker_removed": FaultKindInfo(title="worker removed", colour="#556b2f", recovery_budget_s=1.0),
    # Connections are reopened every 0.5 to 1 s.
    "database_kill": FaultKindInfo(title="database killed", colour="#9467bd", recovery_budget_s=3.0),
    # As after a restart of the database: each connection is opened again, to the other server.
    "failover": FaultKindInfo(title="database failed over", colour="#5e3c99", recovery_budget_s=3.0),
    # Connections to the old primary are opened again, to the new one.
    "old_primary_returns": FaultKindInfo(title="old primary back", colour="#c994c7", recovery_budget_s=3.0),
    "sessions_terminated": FaultKindInfo(title="sessions terminated", colour="#3f007d", recovery_budget_s=3.0),
    # What waited for the lock goes on at once, in the order in which it came.
    "tables_locked": FaultKindInfo(title="tables locked", colour="#807dba", recovery_budget_s=2.0),
    "tables_rewritten": FaultKindInfo(title="tables rewritten", colour="#bcbddc", recovery_budget_s=2.0),
    "connections_used_up": FaultKindInfo(title="connections used up", colour="#6a51a3", recovery_budget_s=3.0),
    "settings_changed": FaultKindInfo(title="settings changed", colour="#9e9ac8", recovery_budget_s=1.0, excuses=False),
    # As after a restart of the database.
    "restore": FaultKindInfo(title="database restored", colour="#7a0177", recovery_budget_s=3.0),
    # As after a restart of the database: each connection is opened again, through the new pooler.
    "pooler_kill": FaultKindInfo(title="pooler killed", colour="#dd1c77", recovery_budget_s=3.0),
    # A database that ended is started again, as after a kill.
    "disk_full": FaultKindInfo(title="database's disk full", colour="#ae017e", recovery_budget_s=3.0),
    "broker_kill": FaultKindInfo(title="broker killed", colour="#8c564b", recovery_budget_s=RECONNECT_S),
    # The broker tries each second whether it can write again; a worker whose command was refused connects again.
    "broker_disk_full": FaultKindInfo(title="broker's disk full", colour="#a6761d", recovery_budget_s=RECONNECT_S),
    # As after a restart of the broker: each connection is opened again, to the server that Sentinel names.
    "broker_failover": FaultKindInfo(title="broker failed over", colour="#4b2e27", recovery_budget_s=RECONNECT_S),
    "cut": FaultKindInfo(title="connections cut", colour="#e377c2", recovery_budget_s=RECONNECT_S),
    "refuse": FaultKindInfo(title="connections refused", colour="#f7b6d2", recovery_budget_s=RECONNECT_S),
    "freeze": FaultKindInfo(title="connections frozen", colour="#c5b0d5", recovery_budget_s=RECONNECT_S),
    "partition": FaultKindInfo(title="network partitioned", colour="#c49c94", recovery_budget_s=RECONNECT_S),
    # What ended is started again before the fault counts as healed.
    "memory_limit": FaultKindInfo(title="worker out of memory", colour="#a50026", recovery_budget_s=1.0),
    # As after connections that were cut: each of them is opened again.
    "descriptors_used_up": FaultKindInfo(
        title="worker out of descriptors", colour="#f46d43", recovery_budget_s=RECONNECT_S
    ),
    "clock": FaultKindInfo(title="clock wrong", colour="#17becf", recovery_budget_s=1.0),
    # A refused delivery is retried after 1, 2 and 4 s.
    "gateway_slow": FaultKindInfo(title="gateway slow", colour="#1f77b4", recovery_budget_s=5.0),
    "gateway_refuse": FaultKindInfo(title="gateway refuses", colour="#1f77b4", recovery_budget_s=5.0),
    "gateway_hang": FaultKindInfo(title="gateway hangs", colour="#1f77b4", recovery_budget_s=5.0),
    "gateway_lose_answer": FaultKindInfo(title="gateway's answers lost", colour="#1f77b4", recovery_budget_s=5.0),
    "client_kill": FaultKindInfo(title="client killed", colour="#2ca02c", recovery_budget_s=1.0),
    # Nothing fails meanwhile, so a design that gets slow is late without an excuse.
    "old_transaction": FaultKindInfo(
        title="transaction left open", colour="#7f7f7f", recovery_budget_s=1.0, excuses=False
    ),
    "host_vanishes": FaultKindInfo(title="host vanished", colour="#8b0000", recovery_budget_s=1.0),
    # TCP sends again after 0.2, 0.4, 0.8, … s: what waited in a connection goes on after as long again as the cut.
    "cut_from_database": FaultKindInfo(title="host cut from the database", colour="#6b8e23", recovery_budget_s=6.0),
    "cut_from_broker": FaultKindInfo(title="host cut from the broker", colour="#a0522d", recovery_budget_s=RECONNECT_S),
    "half_cut": FaultKindInfo(title="host half cut", colour="#9acd32", recovery_budget_s=6.0),
    # Nothing fails meanwhile.
    "far_database": FaultKindInfo(title="database far away", colour="#4682b4", recovery_budget_s=1.0, excuses=False),
    # What the slow worker had claimed is delivered by it.
    "slow_host": FaultKindInfo(title="host slow", colour="#b8860b", recovery_budget_s=2.0),
}


class FaultNotVerified(Exception):
    """The expected effect of a fault was not observed in time, so the run proves nothing about this fault."""


class Sleeper(Protocol):
    """A sleep that can be cancelled from outside."""

    def sleep(self, seconds: float) -> None: ...


class Fault(Protocol):
    """One fault of a run. The methods are called in this order; ``heal`` also after an error."""

    def prepare(self, stop: Sleeper) -> str:
        """Choose the targets, and wait for the right moment if it matters. Return a description of the fault.

        Raises:
            FaultNotVerified: the moment did not come.
        """

    def inject(self) -> None:
        """Inject the fault without waiting for its effect."""

    def verify_injected(self, stop: Sleeper) -> str:
        """Wait until the fault has taken effect. Return the evidence.

        Raises:
            FaultNotVerified: the fault did not take effect in time.
        """

    def heal(self) -> None:
        """End the fault, or begin to. Safe to call if it was not injected."""

    def verify_healed(self, stop: Sleeper) -> str:
        """Wait until a probe shows that the fault is over. Return the evidence.

        Raises:
            FaultNotVerified: the fault was not over in time.
        """


@runtime_checkable
class HitsDelivery(Protocol):
    """A fault that may hit a worker in a phase of a delivery."""

    @property
    def delivery(self) -> Mapping[str, object] | None:
        """The delivery and its phase, as measured; None before, or if the fault did not ask for one."""


@dataclass(frozen=True, slots=True)
class LostCommits:
    """What a database had acknowledged and lost, as measured: bytes of its log, of commits since an instant.

    Of a broker: bytes of its stream of changes, since an instant.
    """

    size: int
    since_ns: int


@runtime_checkable
class LosesCommits(Protocol):
    """A fault after which commits may be lost that the database, or the broker, had acknowledged."""

    @property
    def lost(self) -> LostCommits | None:
        """What was lost; None before it is measured, and if nothing was."""


def wait_for(
    condition: Callable[[], bool], stop: Sleeper, *, within_s: float, message: str, every_s: float = 0.005
) -> None:
    """Wait until `condition` holds.

    Raises:
        FaultNotVerified: with `message`, after `within_s` seconds.
    """
    give_up_at = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise FaultNotVerified(f"{message} within {within_s:g} s")
        stop.sleep(every_s)
