"""The records of a run's files.

Instants are nanoseconds of the monotonic clock, as in the files: integers compare exactly and need little memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

NEVER: Final = 1 << 63
"""Later than every instant of a run."""

MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""The exceptions that reading a malformed record raises."""

Verb = Literal["schedule", "cancel"]
Answer = Literal["ok", "fail", "info"]
Phase = Literal["inject", "observed", "heal", "healed"]


@dataclass(slots=True)
class Operation:
    """One call of `schedule` or `cancel`: the interval in which it took effect, or may have.

    answer: ``ok``, acknowledged; ``fail``, rejected, and never takes effect; ``info``, unknown.
    answered_ns: the instant of the answer, `NEVER` for a call that never returned.
    line, answered_line: the lines of history.jsonl; 0 if there is no answer.
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
        """The instant by which the operation took effect; `NEVER` unless it was acknowledged."""
        return self.answered_ns if self.answer == "ok" else NEVER


class Delivery(NamedTuple):
    """One call of the gateway."""

    at_ns: int
    line: int
    op: str
    worker: str
    attempt: int


class Canary(NamedTuple):
    """A delivery of the harness itself through the same gateway, due at a known time."""

    revision: int
    due_ns: int
    at_ns: int


class DatabaseClock(NamedTuple):
    """By how much the clock of the database server was ahead of the harness's, within an uncertainty."""

    ahead_ns: int
    uncertainty_ns: int


@dataclass(slots=True)
class RecordedFault:
    """One fault, from its injection until a probe verified that it was healed (`NEVER` if none did).

    observed_ns, heal_ns: when it was verified, and when its healing began; `NEVER` if it was not.
    only: prefixes of the keys that the fault concerns; empty for all keys.
    phases: the line of faults.jsonl that first records each phase.
    hit: the phase of a delivery in which it hit a worker, as measured; empty if it was not measured.
    worker, in_flight: the worker in whose delivery it struck, and the ops that were delivered and not known to be
    acknowledged; empty if it was not measured.
    lost_since_ns: what the database, or in a `broker_failover` the broker, acknowledged since then, until the fault was
    observed, may be lost; `NEVER` if nothing is.
    """

    fault: str
    kind: str
    target: str
    injected_ns: int = NEVER
    healed_ns: int = NEVER
    only: tuple[str, ...] = ()
    phases: dict[str, int] = field(default_factory=dict)
    hit: str = ""
    observed_ns: int = NEVER
    heal_ns: int = NEVER
    worker: str = ""
    in_flight: frozenset[str] = frozenset()
    lost_since_ns: int = NEVER

    def may_have_lost(self, start_ns: int, end_ns: int) -> bool:
        """Return True if what was acknowledged in the period may be lost."""
        return self.lost_since_ns <= end_ns and start_ns <= min(self.observed_ns, self.healed_ns)

    def concerns(self, key: str) -> bool:
        return not self.only or key.startswith(self.only)

    def __str__(self) -> str:
        return f"{self.fault} ({self.kind} {self.target})"


@dataclass(frozen=True, slots=True)
class RecordedProfile:
    """The numbers by which a run is judged, fixed in its plan before the start.

    non_excusing_faults: kinds of fault that excuse no lateness.
    owed_until_ns: a notification due later than this, after the start, need not arrive in the run.
    event_begins_ns: the time from the due time of a reminder to the start of its event.
    Both are None if the plan does not set them.
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
    """The part of the plan on which a verdict depends.

    required_faults: the kinds of fault that the scenario is about. planned: the number of operations of each verb.
    canary_period_ns: 0 if the plan does not set it. started_ns: None if the run never started.
    due_by_workers: True if no other clock decides when a notification is due.
    kept_in_broker: True if the design keeps its notifications in the broker.
    recovers_within_ns: the documented time until what a dead worker held is delivered; 0 if it fits into every run.
    """

    identity: Mapping[str, Any]
    profile: RecordedProfile
    required_faults: tuple[str, ...]
    planned: Mapping[str, int]
    faults: tuple[Mapping[str, str], ...]
    canary_period_ns: int
    started_ns: int | None = None
    due_by_workers: bool = False
    kept_in_broker: bool = False
    recovers_within_ns: int = 0

    @classmethod
    def from_json(cls, plan: Mapping[str, Any]) -> RecordedPlan:
        return cls(
            identity={
                **{name: plan.get(name) for name in ("design", "scenario", "seed", "plan_hash")},
                **{name: plan[name] for name in ("slow",) if name in plan},
            },
            profile=RecordedProfile.from_json(plan["profile"]),
            required_faults=tuple(plan.get("required_faults", ())),
            planned=dict(plan.get("planned", {})),
            faults=tuple(
                {"fault": f["fault"], "kind": f["kind"], "target": f["target"]} for f in plan.get("faults", ())
            ),
            canary_period_ns=nanoseconds(plan.get("canary_period_s", 0)),
            started_ns=require_int(plan["started"]["mono_ns"]) if plan.get("started") else None,
            due_by_workers=plan.get("guarantees", {}).get("due_by") == "workers",
            kept_in_broker=plan.get("guarantees", {}).get("as_durable_as") == "broker",
            recovers_within_ns=nanoseconds(plan.get("guarantees", {}).get("recovers_within_s", 0.0)),
        )


class StoredEntry(NamedTuple):
    """What a design's store holds of a revision, as ``duetime.interface.Pending`` describes it."""

    where: str
    state: str = "waiting"
    back_after_s: float | None = None


STATES_OF_ENTRIES: Final = ("failed", "held", "waiting")
"""Of a revision that the store has several times, the last one counts."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The state of the run when the harness closed it.

    pending: what the design's store held of each op, before the workers were stopped; None if it was not searched.
    after_stop: the same after the workers had ended; None if they were not stopped, or it was not searched again.
    unlisted: why the store cannot be listed; empty if it can.
    cut_short: the workers that did not end in an orderly way when they were stopped; None if it was not recorded.
    quiet_ns: the time without deliveries before the workers were stopped; None if it was not measured.
    restarts: instant, worker and exit status of each worker that ended by itself; the status of a signal is negative.
    """

    at_ns: int
    pending: Mapping[str, StoredEntry] | None
    workers_alive: bool
    quiet_ns: int | None = None
    restarts: tuple[tuple[int, str, int], ...] = ()
    after_stop: Mapping[str, StoredEntry] | None = None
    unlisted: str = ""
    cut_short: tuple[str, ...] | None = None

    @classmethod
    def from_json(cls, closed: Mapping[str, Any]) -> Closed:
        cut_short = closed.get("cut_short")
        return cls(
            at_ns=require_int(closed["at_ns"]),
            pending=_entries(closed.get("pending")),
            after_stop=_entries(closed.get("after_stop")),
            unlisted=str(closed.get("unlisted", "")),
            cut_short=None if cut_short is None else tuple(map(str, cut_short)),
            workers_alive=closed.get("workers_alive", True) is not False,
            quiet_ns=nanoseconds(closed["quiet_s"]) if "quiet_s" in closed else None,
            restarts=tuple(
                (
                    require_int(restart["at_ns"]),
                    str(restart.get("worker", restart.get("server"))),
                    require_int(restart["status"]),
                )
                for restart in closed.get("restarts", ())
            ),
        )


def _entries(rows: list[Mapping[str, Any]] | None) -> Mapping[str, StoredEntry] | None:
    if rows is None:
        return None
    found: dict[str, StoredEntry] = {}
    for row in rows:
        state, back_after_s = row.get("state", "waiting"), row.get("back_after_s")
        if state not in STATES_OF_ENTRIES:
            raise ValueError(f"the state of {row['op']} is {state!r}; a design's Pending is waiting, held or failed")
        entry = StoredEntry(str(row["where"]), state, None if back_after_s is None else float(back_after_s))
        before = found.get(row["op"])
        rank = STATES_OF_ENTRIES.index(state)
        if before is None or STATES_OF_ENTRIES.index(before.state) <= rank:
            found[row["op"]] = entry
    return found


def require_int(value: object) -> int:
    """Return `value` if it is an integer within the range of an instant; ``true`` and ``1.0`` are not integers.

    Raises:
        TypeError, ValueError: it is not.
    """
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    if not -NEVER < value < NEVER:
        raise ValueError("a number is too large to be an instant")
    return value
