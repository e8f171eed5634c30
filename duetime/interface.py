"""What an application and a design say to each other. Read this file first.

An application calls ``schedule()`` and ``cancel()`` and never knows which design stands behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from duetime import limits

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from duetime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """Something that must reach `recipient`, and not before `due_at`.

    key: the caller's idempotency key, 1 to 200 characters; scheduling a key again replaces its older revision.
    revision: counts up from 1 with every change of the key, cancels included.
    due_at: aware; kept to the microsecond, because PostgreSQL keeps no more.
    payload: a JSON object of up to 64 KiB.

    Raises:
        ScheduleRejected: a field is outside these limits; the message says what to write instead.
    """

    key: str
    revision: int
    kind: str
    recipient: str
    due_at: datetime
    payload: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        limits.check_key(self.key)
        limits.check_revision(self.key, self.revision)
        limits.check_due_at(self.key, self.due_at)
        limits.check_payload(self.key, self.payload)
        for name in ("key", "kind", "recipient"):
            limits.check_text(self.key, name, getattr(self, name))

    @property
    def op(self) -> str:
        """How a history names this edition of the key."""
        return f"{self.key}/{self.revision}"

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "revision": self.revision,
            "kind": self.kind,
            "recipient": self.recipient,
            "due_at": self.due_at.isoformat(),
            "payload": dict(self.payload),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Notification:
        return cls(**{**data, "due_at": datetime.fromisoformat(data["due_at"])})

    @classmethod
    def restored(
        cls, key: str, revision: int, kind: str, recipient: str, due_at: datetime, payload: Mapping[str, Any]
    ) -> Notification:
        """One that a design reads back from its own store: checked when it was accepted, and not once more."""
        self, put = object.__new__(cls), object.__setattr__
        put(self, "key", key)
        put(self, "revision", revision)
        put(self, "kind", kind)
        put(self, "recipient", recipient)
        put(self, "due_at", due_at)
        put(self, "payload", payload)
        return self


class Scheduler(Protocol):
    """Accepts notifications now, for delivery when they fall due. A due time in the past is delivered at once."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Take `notification`, together with what `session` commits; the commit's return is the acknowledgement.

        A newer revision of the key replaces the older; an older or equal one changes nothing as long as the newer
        is still pending.

        Raises:
            ScheduleRejected: not stored, and never will be. Every other exception leaves the outcome unknown.
        """

    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        """As ``schedule()`` for each of `notifications`; a subclass may do it in fewer steps."""
        for notification in notifications:
            self.schedule(notification, session=session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Withdraw every revision of `key` below `revision`. A delivery already under way may still happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A kind of process that a design runs.

    argv: the command of one replica; ``{worker}`` stands for the replica's name, ``{state}`` for a directory of its
    own that outlives restarts.
    ready: what its log says once it serves.
    replicas: how many of it there are, however many servers there are; None for one a server.
    """

    name: str
    argv: tuple[str, ...]
    ready: str
    replicas: int | None = None


Delivery = Literal["at_least_once", "at_most_once", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """What a design's own advocates would sign.

    transactional: a schedule() exists exactly when the caller's transaction does.
    cancels: an acknowledged cancel or newer revision holds, whatever happens to the servers.
    as_durable_as: the store that holds what was scheduled; a design promises no more than that store keeps.
    due_by: whose clock says that a notification is due; a design promises to be no earlier than that clock.
    """

    delivery: Delivery
    transactional: bool
    cancels: bool
    as_durable_as: Literal["database", "broker"] = "database"
    due_by: Literal["database", "workers"] = "database"


@dataclass(frozen=True, slots=True)
class Pending:
    """A notification that a design's own store still holds, and where."""

    op: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a design is doing at this moment; None for what it cannot know, and `note` says why.

    oldest_due_at: of what is pending. late_s: for how many seconds the oldest has been due; 0 if none is.
    claimed: what servers hold right now. failed: what was tried, and is to be tried again.
    bytes_of_table, bytes_of_indexes, dead_rows: of where it is kept.
    """

    pending: int | None
    oldest_due_at: datetime | None = None
    late_s: float | None = None
    claimed: int | None = None
    failed: int | None = None
    bytes_of_table: int | None = None
    bytes_of_indexes: int | None = None
    dead_rows: int | None = None
    note: str = ""


class MigrationTarget(Protocol):
    """The design that a migration moves pending notifications to."""

    def accept(self, notification: Notification, *, session: Session) -> None:
        """Accept a notification whose row the old design holds locked, and deletes once `session` is committed."""

    def accept_if_unchanged(self, notification: Notification, *, session: Session) -> bool:
        """Accept a notification from a non-transactional store unless its key changed since the switch.

        Returns True if accepted. Commit soon: calls of the application about the same key wait for that commit. A
        design that is not ``transactional`` accepts before it, so a crash in between duplicates and does not lose.
        """


MIGRATION_SEPARATOR = "-to-"
"""Between the two names of a migration: ``OLD-to-NEW``."""

Migrate = Callable[["Settings", "Engine", MigrationTarget, datetime | None], int]
"""The last argument is how far the old design had got, for a design that keeps no record of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A way to keep the promise of ``schedule()``, and all that duetime needs to run it.

    weakness: the known one, in a sentence.
    install: creates what the design keeps in the application's database; safe to repeat.
    pending: reads the design's own stores from outside; must not disturb them.
    status: the same in figures; None if it has none beyond the number that is pending.
    check_can_migrate: raises ``BadUsage`` if a migration from this design cannot start now; called before any change.
    migrate: moves notifications that are not due within seconds to another design; returns how many it moved.
    migration_refusal: why this design cannot be migrated to; empty if it can.
    uses_broker: whether any of its processes talks to the broker; if none does, no fault of the broker can hit it.
    """

    name: str
    summary: str
    weakness: str
    guarantees: Guarantees
    roles: Sequence[Role]
    install: Callable[[Engine], None]
    scheduler: Callable[[Settings], Scheduler]
    pending: Callable[[Settings, Engine], Sequence[Pending]]
    uses_broker: bool = True
    status: Callable[[Settings, Engine], Status] | None = None
    check_can_migrate: Callable[[Settings, datetime | None], None] | None = None
    migrate: Migrate | None = None
    migration_refusal: str = ""
