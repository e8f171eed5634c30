"""The plan of a run: everything that is decided before it starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

UseCase = Literal["create_event", "move_event", "cancel_event", "join_event", "leave_event", "change_address"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One use case, carried out by one client `at_s` seconds after the start of the run.

    event: the one event whose reminders this changes; a user takes part in one only.
    due_s: when the reminders fall due, in seconds after the start; for the use cases that set a start time.
    """

    at_s: float
    client: int
    do: UseCase
    event: int
    users: tuple[int, ...] = ()
    due_s: float | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """One thing that will go wrong, in seconds after the start.

    target: a server's name, ``all``, or ``delivering``: the first that is seen in the middle of its deliveries.
    heal_s: when mending begins; how long it takes is measured.
    """

    fault: str
    kind: Literal["kill"]
    target: str
    inject_s: float
    heal_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The numbers by which a run is judged, fixed in the scenario before any run."""

    lateness_limit_s: float
    early_tolerance_s: float = 0.05
    in_flight_allowance_s: float = 0.5
    recovery_budget_s: dict[str, float] = field(default_factory=lambda: {"kill": 1.0})
    grace_s: float = 1.0
    quiet_s: float = 1.0
    pending_budget_s: float = 1.5
    delivery_time_s: float = 0.005
    canary_period_s: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every design compared in one scenario goes through, to the letter."""

    scenario: str
    seed: int
    servers: int
    profile: Profile
    exists_for: tuple[str, ...]
    operations: Sequence[Operation]
    faults: Sequence[PlannedFault]

    def to_json(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "servers": self.servers,
            "profile": asdict(self.profile),
            "exists_for": list(self.exists_for),
            "planned": self.planned(),
            "operations": [asdict(operation) for operation in self.operations],
            "faults": [asdict(fault) for fault in self.faults],
            "canary_period_s": self.profile.canary_period_s,
        }

    def hash(self) -> str:
        """SHA-256 of the plan; two designs went through the same if their hashes are the same."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def planned(self) -> dict[str, int]:
        """How many use cases lead to each kind of notification operation."""
        cancels = sum(operation.do in {"cancel_event", "leave_event"} for operation in self.operations)
        return {"schedule": len(self.operations) - cancels, "cancel": cancels}
