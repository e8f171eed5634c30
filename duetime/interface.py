"""The contract between an application and a design. Read this file first.

An application calls ``schedule()`` and ``cancel()`` of a ``Scheduler`` and does not depend on the design behind it.
A design is one ``Design`` object: its scheduler, its worker processes, and what it guarantees. docs/contract.md
explains the contract, docs/api.md lists every name with an example.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from duetime import limits
from duetime.errors import BadUsage

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from duetime.contenders import Contender
    from duetime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A message to deliver to `recipient` at `due_at` or soon after, never before.

    key: the caller's idempotency key, 1 to 200 visible characters, for instance ``event-reminder:42:7``.
    revision: counts up from 1 with every change of the key, including each cancel.
    due_at: timezone-aware, and kept in UTC; microsecond precision, as in PostgreSQL.
    payload: a JSON object of up to 64 KiB, copied.

    Raises:
        ScheduleRejected: a field is outside the limits of ``duetime.limits``; the message says what to write instead.
    """

    key: str
    revision: int
    kind: str
    recipient: str
    due_at: datetime
    payload: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "key", limits.plain_key(self.key))
        set_field(self, "revision", limits.plain_revision(self.key, self.revision))
        set_field(self, "kind", limits.plain_kind(self.key, self.kind))
        set_field(self, "recipient", limits.plain_recipient(self.key, self.recipient))
        set_field(self, "due_at", limits.due_in_utc(self.key, self.due_at))
        set_field(self, "payload", limits.plain_payload(self.key, self.payload))

    @property
    def op(self) -> str:
        """The name of this revision in a history: ``key/revision``."""
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
    def from_stored_json(cls, data: Mapping[str, Any]) -> Notification:
        """Read `to_json` back without the checks, so that limits of a later version do not strand what is stored."""
        return cls.from_store(**{**data, "due_at": datetime.fromisoformat(data["due_at"])})

    @classmethod
    def from_store(
        cls, key: str, revision: int, kind: str, recipient: str, due_at: datetime, payload: Mapping[str, Any]
    ) -> Notification:
        """Rebuild a notification from a design's own store, without the checks that it passed when it was accepted."""
        notification, set_field = object.__new__(cls), object.__setattr__
        set_field(notification, "key", key)
        set_field(notification, "revision", revision)
        set_field(notification, "kind", kind)
        set_field(notification, "recipient", recipient)
        set_field(notification, "due_at", due_at)
        set_field(notification, "payload", payload)
        return notification


class Scheduler(Protocol):
    """Accepts notifications now and delivers them when they fall due. A past due time means: deliver at once."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Schedule `notification` in the transaction of `session`; its commit is the acknowledgement.

        A newer revision replaces a pending older one. An equal or older revision changes nothing while a newer or
        equal one is pending, so a call may be repeated.

        Raises:
            ScheduleRejected: not stored, and never will be. An equal revision with another content is one.
            StillBeingDelivered: a worker holds the row. Roll back, and call again.
            Exception: any other leaves the outcome unknown. Call again with the same key and revision.
        """

    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        """Schedule the newest of each key. A design may override this to need fewer statements.

        Raises:
            RevisionReused: two have the same key and revision, and different content. Nothing was sent.
        """
        for notification in limits.newest_revisions(notifications):
            self.schedule(notification, session=session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Cancel every revision of `key` below `revision`. A delivery that has already started may still complete."""

    async def schedule_async(self, notification: Notification, *, session: AsyncSession) -> None:
        """`schedule`, for an ``AsyncSession``. A design that publishes after the commit blocks the event loop then."""
        await session.run_sync(lambda sync_session: self.schedule(notification, session=sync_session))

    async def cancel_async(self, key: str, *, revision: int, session: AsyncSession) -> None:
        """`cancel`, for an ``AsyncSession``."""
        await session.run_sync(lambda sync_session: self.cancel(key, revision=revision, session=sync_session))


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One kind of process that a design needs, for instance its worker or its scheduler.

    argv: the command; ``{worker}`` is replaced by the worker's name, ``{state}`` by its own directory, which survives
    a restart, ``{python}`` by the interpreter, ``{database}`` and ``{broker}`` by their URLs, and the name of a
    service, for instance ``{rabbitmq}``, by its URL. For a contender ``{here}`` is its folder.
    ready: the text in the log that shows the process is ready, for instance ``{worker} ready``.
    replicas: the number of processes of this role in a run; None for one per worker of the scenario.
    environment: variables for these processes, with the same replacements.
    stop_signal: the signal that asks the process to end in an orderly way.
    orderly_exits: the exit statuses of an orderly end; -15 is death by SIGTERM. Another one is noted, not a failure.
    """

    name: str
    argv: tuple[str, ...]
    ready: str
    replicas: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: Literal["SIGTERM", "SIGINT"] = "SIGTERM"
    orderly_exits: tuple[int, ...] = (0,)


SERVICE_NAME = re.compile(r"(?!(?:worker|state|python|here|database|broker)$)[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A server that a design brings itself, beside the database and the broker of a run: for instance a RabbitMQ.

    Each run starts one on loopback before `install`, waits until it answers, and ends it with everything that it left
    behind. Its working directory is empty at first and survives a restart.

    name: ``settings.services[name]`` and, in a role, ``{name}`` are the URL for its clients.
    argv: the command, which stays in the foreground. Each name in `ports` in braces is replaced by a free port.
    url: for its clients, with the same replacements.
    ports: the placeholders for ports; the first is the port of the clients.
    hello: the bytes that a client sends first, which the server answers once it is ready; empty if the server begins.
    environment: variables for the server, with the same replacements.
    is_broker: True if faults of the broker are injected into it, because the design has no other broker.

    Raises:
        BadUsage: a name is not of lower-case letters, digits and _, or has another meaning in a role.
    """

    name: str
    argv: tuple[str, ...]
    url: str
    ports: tuple[str, ...] = ("port",)
    hello: bytes = b""
    environment: Mapping[str, str] = field(default_factory=dict)
    is_broker: bool = False

    def __post_init__(self) -> None:
        if not SERVICE_NAME.fullmatch(self.name):
            raise BadUsage(
                f"a service cannot be named {self.name!r}; write lower-case letters, digits and _, and no placeholder "
                "of a role, such as broker"
            )


Delivery = Literal["at_least_once", "at_most_once", "once_without_faults", "nothing", "unstated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """What a design guarantees. The checker's verdict ignores it; a report says whether it allows a failure.

    delivery: at_least_once allows duplicates under faults, at_most_once allows losses, once_without_faults allows both
    under faults, nothing allows both at any time; unstated if its owner says nothing, so that a failure is neither
    documented nor a broken guarantee.
    transactional: a schedule() takes effect if and only if the caller's transaction commits.
    transactional_cancel: the same of a cancel(); None for the same as `transactional`.
    cancels: an acknowledged cancel or newer revision holds under every fault.
    has_cancel: False if the design can neither cancel nor replace a notification, so that both are delivered.
    unique_by_key: a repeated call adds nothing while the notification is pending.
    as_durable_as: the store that holds scheduled notifications; what that store loses is not covered.
    due_by: the clock that decides when a notification is due: "client" if the caller computes a delay, "either" if
    several do, as in a migration. An error of that clock is not covered.
    recovers_within_s: after how many seconds, at most, the notifications that a dead worker held are delivered; 0 for
    within the limits of every scenario.
    punctual_to_s: how late, in seconds, a delivery may be without any fault, for instance because of a poll interval;
    0 for within the limit of every scenario.
    early_by_s: how much too early it may deliver, for instance because it keeps due times in whole seconds.
    """

    delivery: Delivery
    transactional: bool
    cancels: bool
    transactional_cancel: bool | None = None
    has_cancel: bool = True
    unique_by_key: bool = True
    as_durable_as: Literal["database", "broker"] = "database"
    due_by: Literal["database", "workers", "client", "either"] = "database"
    recovers_within_s: float = 0.0
    punctual_to_s: float = 0.0
    early_by_s: float = 0.0

    @property
    def cancels_transactionally(self) -> bool:
        """True if a cancel() takes effect if and only if the caller's transaction commits."""
        return self.transactional if self.transactional_cancel is None else self.transactional_cancel


@dataclass(frozen=True, slots=True)
class Pending:
    """A notification that the design's store still has.

    where: its place in the store, for instance a queue.
    state: waiting for a worker; held by one, which may be dead; or failed, and not tried again.
    back_after_s: after how many seconds, at most, the store hands a held one out again; None if that is not certain.
    """

    op: str
    where: str
    state: Literal["waiting", "held", "failed"] = "waiting"
    back_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The present state of a design in figures. None: the design cannot know the figure; `note` explains why.

    oldest_due_at: the earliest due time of the pending notifications.
    late_s: for how many seconds that one has been due; 0 if none is due.
    claimed: notifications that workers hold at this moment.
    failed: notifications whose delivery failed and will be retried.
    given_up: notifications whose delivery failed and will not be retried; they are not `pending`.
    """

    pending: int | None
    oldest_due_at: datetime | None = None
    late_s: float | None = None
    claimed: int | None = None
    failed: int | None = None
    given_up: int | None = None
    bytes_of_table: int | None = None
    bytes_of_indexes: int | None = None
    dead_rows: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """A notification that a design does not retry any more, and keeps until a person decides.

    attempts: how many deliveries failed. last_error: what the last one raised; it may name the recipient.
    pending_revision: the revision of the same key that is pending; None if there is none.
    """

    key: str
    revision: int
    kind: str
    recipient: str
    due_at: datetime
    attempts: int
    given_up_at: datetime
    last_error: str
    pending_revision: int | None

    @property
    def op(self) -> str:
        return f"{self.key}/{self.revision}"


class GivenUpStore(Protocol):
    """Where a design keeps what it has given up, for `duetime failed`."""

    def find(
        self, engine: Engine, *, keys: Collection[str] | None = None, limit: int | None = None
    ) -> Sequence[GivenUp]:
        """Return given-up notifications, the first given up first; only those of `keys`, if given."""

    def retry(self, engine: Engine, given_up: Sequence[GivenUp]) -> Iterator[str]:
        """Schedule each again for now, unless its key is pending. Yields the op of each that was."""

    def discard(self, engine: Engine, given_up: Sequence[GivenUp]) -> Iterator[str]:
        """Remove each for ever. Yields the op of each that was removed."""


class MigrationTarget(Protocol):
    """The design that receives notifications during a migration."""

    def accept(self, notification: Notification, *, session: Session) -> None:
        """Accept a notification whose row the old design holds locked, and deletes once `session` is committed."""

    def accept_if_unchanged(self, notification: Notification, *, session: Session) -> bool:
        """Accept a notification from a non-transactional store unless its key changed since the switch.

        Returns True if accepted. Commit soon: other changes of the key wait for this transaction. A target that is not
        ``transactional`` stores the notification before that commit, so a crash in between causes a duplicate, not a
        loss.
        """


MIGRATION_SEPARATOR = "-to-"
"""Separates the two names of a migration: ``OLD-to-NEW`` is the design that migrates from OLD to NEW."""

Migrate = Callable[["Settings", "Engine", MigrationTarget, datetime | None], int]
"""The last argument is the time up to which OLD has delivered, for a design that keeps no record of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A way to implement ``schedule()``, with everything that duetime needs to run and judge it.

    weakness: the known weakness, in one sentence.
    install: creates the design's tables in the application's database; safe to repeat.
    install_partitioned: the same with a number of partitions; None if the design has no partitions.
    scheduler: makes the scheduler; called once in each client process.
    pending: reads the design's stores from outside, without changing them. Raises ``CannotBeListed`` if a store cannot
    say which notifications it has.
    services: further servers of each run; one of them may be the broker that this design uses.
    uses_broker: False if no process uses the broker, so that faults of the broker do not apply.
    status: the same in figures; None to report only the number of pending notifications.
    check_can_migrate: raises ``BadUsage`` if pending notifications cannot be moved now; called before any change.
    check_environment: raises ``BadUsage`` if its workers would refuse these variables; called by `duetime serve`.
    given_up: where it keeps what it has given up; None if it gives nothing up, or keeps nothing of it.
    migrate: moves pending notifications that are not about to fall due to another design; returns how many.
    migrates_stopped: True if its workers must have ended before `migrate`; otherwise they must be running.
    contender: the folder and the environment of a library of others; its clients run in that environment.
    client_packages: what its scheduler imports and the environments of contenders do not have.
    migration_refusal: why this design cannot be the target of a migration; empty if it can.
    shards: the number of databases of a run's application. Each client uses one of them, and `install` and `pending`
    are called for each; ``settings.shards`` names them to the workers.
    """

    name: str
    summary: str
    weakness: str
    guarantees: Guarantees
    roles: Sequence[Role]
    install: Callable[[Engine], None]
    scheduler: Callable[[Settings], Scheduler]
    pending: Callable[[Settings, Engine], Sequence[Pending]]
    services: Sequence[Service] = ()
    uses_broker: bool = True
    status: Callable[[Settings, Engine], Status] | None = None
    check_can_migrate: Callable[[Settings, datetime | None], None] | None = None
    migrate: Migrate | None = None
    install_partitioned: Callable[[Engine, int], None] | None = None
    migrates_stopped: bool = False
    check_environment: Callable[[Mapping[str, str]], object] | None = None
    given_up: GivenUpStore | None = None
    contender: Contender | None = None
    migration_refusal: str = ""
    client_packages: Sequence[str] = ()
    shards: int = 1

    def contender_of(self, _role: str) -> Contender | None:
        """Return whose environment the processes of a role have; in a migration, that of the role's own design."""
        return self.contender
