"""The plan of a run: everything that is decided before it starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import inf
from typing import Any, Literal

from duetime.faults.fault import FaultKind
from duetime.runtime.delivery_phases import PHASE_OF_TARGET

UseCase = Literal[
    "create_event",
    "move_event",
    "cancel_event",
    "join_event",
    "leave_event",
    "change_address",
    "begin",
    "postpone",
    "call_off",
    "migrate",
]
Persistence = Literal["default", "none", "rdb", "aof"]
"""What the broker keeps on disk. SIGKILL leaves the page cache, so AOF loses nothing, whatever its fsync policy."""

Replication = Literal["none", "asynchronous", "synchronous"]
"""Of the database: to no standby, to one that follows, or to one that each commit waits for."""
PoolMode = Literal["none", "session", "transaction"]
"""Of the pooler between every process and the database: no pooler; or for how long it lends a session to a client."""
BrokerReplication = Literal["none", "asynchronous", "min_replicas"]
"""Of the broker: to no replica, to one that follows, or to one without which the primary refuses to write."""
UNFLUSHED_S = 3.0
"""Without `flushes_commits`, a commit is on disk after at most this time: five times PostgreSQL's default."""
ONLY_IF_CHANGED = ("replication", "flushes_commits", "pooler", "broker_replication")
"""Settings that a plan with their defaults does not contain, so that its hash stays what it was."""

ON_HOSTS: Sequence[FaultKind] = ("far_database", "half_cut", "cut_from_database", "cut_from_broker", "host_vanishes")
"""Kinds of fault of hosts and of the network between them."""

FollowUpKind = Literal["end-trial", "ask-for-review", "cancel-reservation", "pay-errand", "cancel-order"]
"""The kinds of follow-up of the application, repeated here because a plan does not import the application."""

DEFAULT_VISIBILITY_TIMEOUT_S = 3600.0
"""Celery's own."""
CANCELS = {"cancel_event", "leave_event", "call_off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOperation:
    """One use case, carried out by one client `at_s` seconds after the start of the run.

    event: the event whose reminders change, or the number of the row that has a follow-up of this `kind`. A user whose
    address changes takes part in this event only.
    due_s: when the notifications fall due, in seconds after the start; for use cases that set a start time.
    rolled_back: the application rolls its transaction back instead of committing it.
    """

    at_s: float
    client: int
    do: UseCase
    event: int
    users: tuple[int, ...] = ()
    due_s: float | None = None
    address: str | None = None
    rolled_back: bool = False
    kind: str | None = None

    def to_json(self) -> dict[str, Any]:
        # Not asdict(), which would copy each of a thousand users.
        return {each.name: getattr(self, each.name) for each in fields(self)}


def operation_from(written: Mapping[str, Any]) -> PlannedOperation:
    return PlannedOperation(**{**written, "users": tuple(written["users"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """One fault, with its times in seconds after the start.

    target: a worker's name; ``all``; the first worker seen in a phase of a delivery: ``before_delivery``,
    ``delivering`` (recorded and not answered) or ``after_delivery``; ``database``; ``pooler``; ``broker``;
    ``gateway``; or a client's name.
    heal_s: when healing begins; how long it takes is measured.
    size_s: by how much a clock is wrong or a delivery is slower; the grace of a deploy.
    only: prefixes of the keys that the fault affects and excuses; empty for all keys.
    """

    fault: str
    kind: FaultKind
    target: str
    inject_s: float
    heal_s: float
    size_s: float = 0.0
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The numbers by which a run is judged, fixed in the scenario before any run.

    non_excusing_faults: kinds of fault that do not excuse lateness.
    owed_until_s: notifications due later after the start than this are outside the scope of the run.
    event_begins_s: how long after the due time of its reminder an event begins.
    measures_capacity: the scenario measures throughput, which no design guarantees; the run ends when everything has
    been delivered instead of waiting for the deadlines.
    """

    lateness_limit_s: float
    early_tolerance_s: float = 0.05
    in_flight_allowance_s: float = 0.5
    recovery_budget_s: dict[str, float] = field(default_factory=dict)
    grace_s: float = 1.0
    quiet_s: float = 1.0
    pending_budget_s: float = 1.5
    delivery_time_s: float = 0.005
    canary_period_s: float = 0.25
    non_excusing_faults: tuple[str, ...] = ()
    owed_until_s: float | None = None
    event_begins_s: float = 10.0
    measures_capacity: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The settings of the services and of the application, the same for every design.

    visibility_timeout_s: of the broker; Celery's default of an hour unless the scenario shortens it.
    time_scale: how many times sooner than in life follow-ups are due; with 86,400 a day is a second.
    rescue_after_s: how long a claim may last before a design that rescues considers its worker dead; five minutes of
    the application.
    replication: of the database, to a standby.
    flushes_commits: whether the database writes a commit to disk before it acknowledges it (synchronous_commit).
    pooler: the mode of the pooler through which clients and workers reach the database.
    broker_replication: of the broker, to a replica that Sentinel lets take over.
    """

    broker_persistence: Persistence = "default"
    visibility_timeout_s: float = DEFAULT_VISIBILITY_TIMEOUT_S
    rescue_after_s: float = 5.0
    time_scale: float = 86_400.0
    replication: Replication = "none"
    flushes_commits: bool = True
    pooler: PoolMode = "none"
    broker_replication: BrokerReplication = "none"

    def to_json(self) -> dict[str, Any]:
        defaults = {each.name: each.default for each in fields(self) if each.name in ONLY_IF_CHANGED}
        return {name: value for name, value in asdict(self).items() if defaults.get(name, ...) != value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The operations and faults of one run, identical for every design that is compared.

    slow: how many times as long as its scenario it takes (duetime/harness/plan/slow.py).
    """

    scenario: str
    seed: int
    workers: int
    profile: Profile
    environment: Environment
    required_faults: tuple[str, ...]
    operations: Sequence[PlannedOperation]
    faults: Sequence[PlannedFault]
    slow: float = 1.0

    def to_json(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            # Left out of an ordinary plan, whose hash stays what it was.
            **({"slow": self.slow} if self.slow != 1 else {}),
            "workers": self.workers,
            "profile": asdict(self.profile),
            "environment": self.environment.to_json(),
            "required_faults": list(self.required_faults),
            "planned": self.planned(),
            "operations": [operation.to_json() for operation in self.operations],
            "faults": [asdict(fault) for fault in self.faults],
            "canary_period_s": self.profile.canary_period_s,
        }

    @classmethod
    def from_json(cls, plan: Mapping[str, Any]) -> Plan:
        """The plan that `to_json` wrote.

        Raises:
            KeyError, TypeError: `plan` is not a plan of the present format.
        """
        return cls(
            scenario=plan["scenario"],
            seed=plan["seed"],
            slow=plan.get("slow", 1.0),
            workers=plan["workers"],
            profile=Profile(
                **{**plan["profile"], "non_excusing_faults": tuple(plan["profile"]["non_excusing_faults"])}
            ),
            environment=Environment(**plan["environment"]),
            required_faults=tuple(plan["required_faults"]),
            operations=[operation_from(operation) for operation in plan["operations"]],
            faults=tuple(PlannedFault(**{**fault, "only": tuple(fault["only"])}) for fault in plan["faults"]),
        )

    def hash(self) -> str:
        """SHA-256 of the plan. Two runs with the same hash had the same plan."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def planned(self) -> dict[str, int]:
        """The number of committed use cases that schedule notifications, and of those that cancel them."""
        committed = [op for op in self.operations if not op.rolled_back and op.do != "migrate"]
        cancels = sum(operation.do in CANCELS for operation in committed)
        return {"schedule": len(committed) - cancels, "cancel": cancels}

    def longest_horizon_s(self) -> float:
        """The longest time between schedule and due time, among the notifications owed in this run."""
        owed_until_s = inf if self.profile.owed_until_s is None else self.profile.owed_until_s
        return max((op.due_s - op.at_s for op in self.operations if op.due_s and op.due_s <= owed_until_s), default=0.0)

    def last_due_s(self) -> float:
        """The latest due time of a notification owed in this run, in seconds after the start; 0 without any."""
        owed_until_s = inf if self.profile.owed_until_s is None else self.profile.owed_until_s
        return max(
            (op.due_s for op in self.operations if op.due_s is not None and op.due_s <= owed_until_s), default=0.0
        )

    def added_workers(self) -> Sequence[str]:
        """The names of the workers that are started during the run."""
        return list(dict.fromkeys(fault.target for fault in self.faults if fault.kind == "worker_added"))

    def skewed_workers(self) -> frozenset[str]:
        """The names of the workers that need a clock that a fault can move."""
        return frozenset(fault.target for fault in self.faults if fault.kind == "clock")

    def limited_workers(self) -> frozenset[str]:
        """The names of the workers whose memory a fault limits."""
        return frozenset(fault.target for fault in self.faults if fault.kind == "memory_limit")

    def hits_deliveries(self) -> bool:
        """Return True if a fault hits a worker in a phase of a delivery."""
        return any(fault.target in PHASE_OF_TARGET for fault in self.faults)

    def needs_isolated_broker(self) -> bool:
        """Return True if the broker needs a network of its own."""
        return any(fault.kind == "partition" for fault in self.faults)

    def needs_hosts(self) -> bool:
        """Return True if each worker, the database and the broker need a host of their own."""
        return any(fault.kind in ON_HOSTS for fault in self.faults)

    def judged_until_s(self) -> float:
        """Return when the last deadline has passed, in seconds after the start."""
        budget_s = max(self.profile.recovery_budget_s.values(), default=0.0)
        healed_s = max((fault.heal_s + budget_s for fault in self.faults), default=0.0)
        return max(self.last_due_s(), healed_s) + self.profile.lateness_limit_s + self.profile.grace_s

    def small_disks(self) -> frozenset[str]:
        """What is on a disk of its own, because a fault fills it."""
        return frozenset(fault.target for fault in self.faults if fault.kind in ("disk_full", "broker_disk_full"))

    def proxied_services(self) -> frozenset[str]:
        """The services that are reached through a proxy, because a fault interrupts their connections."""
        return frozenset(fault.target for fault in self.faults if fault.kind in ("cut", "refuse", "freeze"))
