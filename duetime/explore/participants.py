"""The participants of an interleaving, as far as their messages tell, and what happened in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from duetime.explore.steps import Step


@dataclass(slots=True)
class Connection:
    """A session of the database.

    held: the statement that waits for its step. running: whether one is being executed. since, statement: the step of
    the last one, and what it is.
    """

    participant: str
    number: int
    pid: int = 0
    held: str | None = None
    running: bool = False
    since: int = 0
    statement: str = ""
    in_transaction: bool = False
    cut: bool = False

    @property
    def is_in_use(self) -> bool:
        """True until the client may close it: another message would say so too late for a replay."""
        return bool(self.held) or self.running or self.in_transaction


@dataclass(slots=True)
class Participant:
    """A participant.

    queried_at: the instant of its last query, in steps. unacknowledged: that instant for each delivery after which it
    has committed nothing. observed: the results of its statements and deliveries. effect_open, effects: whether its
    transaction has executed an effect inside the database, and when such transactions were committed.
    """

    name: str
    source: int = -1
    pid: int = 0
    ended: bool = False
    error: str = ""
    delivering: Mapping[str, Any] | None = None
    steps: int = 0
    queried_at: float = 0.0
    unacknowledged: list[float] = field(default_factory=list)
    invoking: Sequence[str] = ()
    observed: list[str] = field(default_factory=list)
    effect_open: bool = False
    effects: list[float] = field(default_factory=list)
    killed: bool = False
    cut: bool = False


Happened = Literal["invoke", "ok", "fail", "info", "deliver", "refuse", "kill", "cut", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened at an instant, in steps.

    queried_at: for a delivery, the last query before it. since: for a fault, the query before the first delivery that
    the worker had not acknowledged.
    """

    at: float
    what: Happened
    participant: str
    op: str = ""
    attempt: int = 0
    queried_at: float = 0.0
    since: float = 0.0
    detail: str = ""


@dataclass(slots=True)
class Ended:
    """What is left at the end. stored: where the design's store still has each op, after the recovery."""

    events: list[Event]
    steps: list[Step]
    stored: Mapping[str, str] = field(default_factory=dict)
