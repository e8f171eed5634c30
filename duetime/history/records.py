"""What a run's files say, as values.

Instants are nanoseconds of the monotonic clock, as the files hold them: whole numbers compare exactly, and a
million of them stay cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

NEVER: Final = 1 << 63
"""Later than every instant of any run."""

MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading a record raises when the record is not what its file should hold."""

Verb = Literal["schedule", "cancel"]
Answer = Literal["ok", "fail", "info"]
Phase = Literal["inject", "observed", "heal", "healed"]


@dataclass(slots=True)
class Operation:
    """One call of `schedule` or `cancel`, seen from the client: an interval in which it took effect, or may have.

    answer: ``ok`` acknowledged; ``fail`` refused, and never will take effect; ``info`` nobody knows.
    answered_ns: when the answer came, `NEVER` for a call that never returned.
    line, answered_line: where history.jsonl says so; 0 when there is no answer.
    """

    op: str
    key: str
    revision: int
    verb: Verb
    due_ns: int
    invoked_ns: int
    line: int
    answer: Answer = "info"
    answered_ns: int = NEVER
    answered_line: int = 0

    @property
    def end_ns(self) -> int:
        """The instant by which it surely took effect; `NEVER` unless it was acknowledged."""
        return self.answered_ns if self.answer == "ok" else NEVER


class Delivery(NamedTuple):
    """One call of the gateway."""

    at_ns: int
    line: int
    op: str
    worker: str
    attempt: int


class Canary(NamedTuple):
    """The harness's own delivery, made at a known time through the same gateway."""

    revision: int
    due_ns: int
    at_ns: int


@dataclass(slots=True)
class RecordedFault:
    """One thing gone wrong, from the moment it was injected until a probe saw it healed (`NEVER`, if none did).

    only: beginnings of the keys that it concerns; empty for all.
    """

    fault: str
    kind: str
    target: str
    injected_ns: int = NEVER
    healed_ns: int = NEVER
    only: tuple[str, ...] = ()
    phases: dict[str, int] = field(default_factory=dict)
    """Phase to the line of faults.jsonl where it was first recorded."""

    def concerns(self, key: str) -> bool:
        return not self.only or key.startswith(self.only)

    def __str__(self) -> str:
        return f"{self.fault} ({self.kind} {self.target})"


@dataclass(frozen=True, slots=True)
class RecordedProfile:
    """The numbers a run is judged by, fixed in its plan before it began.

    non_excusing_faults: kinds of fault under which lateness counts as ever.
    owed_until_ns: what is due later after the start is not owed in this run.
    event_begins_ns: how long after its due time a reminder is about something that has begun.
    Both are None when the plan does not say.
    """

    early_tolerance_ns: int
    lateness_limit_ns: int
    in_flight_allowance_ns: int
    recovery_budget_ns: Mapping[str, int]
    as_written: Mapping[str, Any]
    non_excusing_faults: frozenset[str] = frozenset()
    owed_until_ns: int | None = None
    event_begins_ns: int | None = None

    @classmethod
    def from_json(cls, profile: Mapping[str, Any]) -> RecordedProfile:
        return cls(
            early_tolerance_ns=nanoseconds(profile["early_tolerance_s"]),
            lateness_limit_ns=nanoseconds(profile["lateness_limit_s"]),
            in_flight_allowance_ns=nanoseconds(profile["in_flight_allowance_s"]),
            recovery_budget_ns={k: nanoseconds(s) for k, s in profile.get("recovery_budget_s", {}).items()},
            as_written=profile,
            non_excusing_faults=frozenset(profile.get("non_excusing_faults", ())),
            owed_until_ns=_optional(profile.get("owed_until_s")),
            event_begins_ns=_optional(profile.get("event_begins_s")),
        )


def _optional(seconds: float | None) -> int | None:
    return None if seconds is None else nanoseconds(seconds)


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000_000)


@dataclass(frozen=True, slots=True)
class RecordedPlan:
    """What was going to be done, as far as a verdict depends on it.

    required_faults: the kinds of fault without which the scenario shows nothing.
    planned: how many operations of each verb.
    canary_period_ns: 0 when the plan does not say. started_ns: the instant from which it counts, if it came to a start.
    """

    identity: Mapping[str, Any]
    profile: RecordedProfile
    required_faults: tuple[str, ...]
    planned: Mapping[str, int]
    faults: tuple[Mapping[str, str], ...]
    canary_period_ns: int
    started_ns: int | None = None

    @classmethod
    def from_json(cls, plan: Mapping[str, Any]) -> RecordedPlan:
        return cls(
            identity={name: plan.get(name) for name in ("design", "scenario", "seed", "plan_hash")},
            profile=RecordedProfile.from_json(plan["profile"]),
            required_faults=tuple(plan.get("required_faults", ())),
            planned=dict(plan.get("planned", {})),
            faults=tuple(
                {"fault": f["fault"], "kind": f["kind"], "target": f["target"]} for f in plan.get("faults", ())
            ),
            canary_period_ns=nanoseconds(plan.get("canary_period_s", 0)),
            started_ns=whole(plan["started"]["mono_ns"]) if plan.get("started") else None,
        )


@dataclass(frozen=True, slots=True)
class Closed:
    """The harness's last word.

    pending: op to the place where the design still held it; None when the design was not asked.
    quiet_ns: how long nothing had been delivered before the workers were stopped; None when nobody looked.
    restarts: when a server had ended by itself, which, and with what status: negative for a signal.
    """

    at_ns: int
    pending: Mapping[str, str] | None
    workers_alive: bool
    quiet_ns: int | None = None
    restarts: tuple[tuple[int, str, int], ...] = ()

    @classmethod
    def from_json(cls, closed: Mapping[str, Any]) -> Closed:
        pending = closed.get("pending")
        return cls(
            at_ns=whole(closed["at_ns"]),
            pending=None if pending is None else {row["op"]: str(row["where"]) for row in pending},
            workers_alive=closed.get("workers_alive", True) is not False,
            quiet_ns=nanoseconds(closed["quiet_s"]) if "quiet_s" in closed else None,
            restarts=tuple(
                (whole(restart["at_ns"]), str(restart.get("worker", restart.get("server"))), whole(restart["status"]))
                for restart in closed.get("restarts", ())
            ),
        )


def whole(value: object) -> int:
    """`value`, which must be an integer: neither ``true`` nor ``1.0`` counts as an instant."""
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    if not -NEVER < value < NEVER:
        raise ValueError("a number is too large to be an instant")
    return value
