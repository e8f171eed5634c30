"""The plan of a run: everything that is decided before it starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import inf
from typing import Any, Literal

from duetime.faults.fault import FaultKind

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
"""What the broker keeps on its disk. SIGKILL leaves the page cache, so AOF loses nothing, whatever it syncs."""

FollowUpKind = Literal["end-trial", "ask-for-review", "cancel-reservation", "pay-errand", "cancel-order"]
"""The application's follow-ups by their kind; a plan names them without importing the application."""

CANCELS = {"cancel_event", "leave_event", "call_off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOperation:
    """One use case, carried out by one client `at_s` seconds after the start of the run.

    event: the one event whose reminders this changes. Whoever changes an address takes part in one only. Or else the
    number of a row that has a follow-up of this `kind`.
    due_s: when the reminders fall due, in seconds after the start; for the use cases that set a start time.
    rolled_back: the application changes its mind at the very end of the transaction.
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
        # asdict() would copy each of a thousand users.
        return {one.name: getattr(self, one.name) for one in fields(self)}


def operation_from(written: Mapping[str, Any]) -> PlannedOperation:
    return PlannedOperation(**{**written, "users": tuple(written["users"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """One thing that will go wrong, in seconds after the start.

    target: a server's name, ``all``, or ``delivering`` (the first that is seen in the middle of its deliveries);
    ``database`` or ``broker``; ``gateway``; a client's name.
    heal_s: when mending begins; how long it takes is measured.
    size_s: by how much a clock is wrong, or a delivery slower.
    only: beginnings of the keys that alone are concerned, and alone excused; empty for all.
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

    non_excusing_faults: kinds of fault under which lateness counts as ever.
    owed_until_s: what is due later after the start than this is nobody's in this run; it is only there.
    event_begins_s: how long after its reminder was due an event begins.
    measures_capacity: the scenario asks how much a design gets done in time, about which none promises anything; once
    everything has come it does not wait for the deadlines.
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
    """How the services are set up, where a scenario is about that; the same for every design.

    visibility_timeout_s: of the broker; Celery's default of an hour unless the scenario shortens it.
    time_scale: how many times sooner than in life follow-ups are due: with 86,400 a day is a second.
    rescue_after_s: when designs that rescue take a worker for dead: five minutes of the application.
    """

    broker_persistence: Persistence = "default"
    visibility_timeout_s: float = 3600.0
    rescue_after_s: float = 5.0
    time_scale: float = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every design compared in one scenario goes through, to the letter."""

    scenario: str
    seed: int
    workers: int
    profile: Profile
    environment: Environment
    required_faults: tuple[str, ...]
    operations: Sequence[PlannedOperation]
    faults: Sequence[PlannedFault]

    def to_json(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "workers": self.workers,
            "profile": asdict(self.profile),
            "environment": asdict(self.environment),
            "required_faults": list(self.required_faults),
            "planned": self.planned(),
            "operations": [operation.to_json() for operation in self.operations],
            "faults": [asdict(fault) for fault in self.faults],
            "canary_period_s": self.profile.canary_period_s,
        }

    @classmethod
    def from_json(cls, plan: Mapping[str, Any]) -> Plan:
        """What ``to_json`` wrote, as a run directory's plan.json keeps it.

        Raises:
            KeyError, TypeError: it is not a plan of this version.
        """
        return cls(
            scenario=plan["scenario"],
            seed=plan["seed"],
            workers=plan["workers"],
            profile=Profile(
                **{**plan["profile"], "non_excusing_faults": tuple(plan["profile"]["non_excusing_faults"])}
            ),
            environment=Environment(**plan["environment"]),
            required_faults=tuple(plan["required_faults"]),
            operations=[operation_from(operation) for operation in plan["operations"]],
            faults=[PlannedFault(**{**fault, "only": tuple(fault["only"])}) for fault in plan["faults"]],
        )

    def hash(self) -> str:
        """SHA-256 of the plan; two designs went through the same if their hashes are the same."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def planned(self) -> dict[str, int]:
        """How many use cases that are carried through lead to each kind of notification operation."""
        kept = [operation for operation in self.operations if not operation.rolled_back]
        kept = [operation for operation in kept if operation.do != "migrate"]
        cancels = sum(operation.do in CANCELS for operation in kept)
        return {"schedule": len(kept) - cancels, "cancel": cancels}

    def longest_horizon_s(self) -> float:
        """The longest time between a schedule and its due time, of what is owed in this run."""
        owed_until_s = inf if self.profile.owed_until_s is None else self.profile.owed_until_s
        return max((op.due_s - op.at_s for op in self.operations if op.due_s and op.due_s <= owed_until_s), default=0.0)

    def joining(self) -> Sequence[str]:
        """The servers that are not there from the beginning."""
        return list(dict.fromkeys(fault.target for fault in self.faults if fault.kind == "worker_added"))

    def moved_clocks(self) -> frozenset[str]:
        """The servers whose clock has to be one that can be moved."""
        return frozenset(fault.target for fault in self.faults if fault.kind == "clock")

    def isolated(self) -> bool:
        """Whether the broker has to be on a network of its own."""
        return any(fault.kind == "partition" for fault in self.faults)

    def links(self) -> frozenset[str]:
        """The services to which a proxy has to stand in the way."""
        return frozenset(fault.target for fault in self.faults if fault.kind in ("cut", "refuse", "freeze"))
