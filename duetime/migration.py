"""Swapping the design of a running system: what is pending moves, and operations go on meanwhile.

The application runs with the design ``A-to-B``: its calls go to A, and from the switch on to B. The switch is a row
that each of its transactions reads under a shared lock, so no transaction is on both sides of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from duetime.errors import BadUsage
from duetime.interface import MIGRATION_SEPARATOR, Design, Guarantees, Notification, Pending, Scheduler

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from duetime.settings import Settings

SWITCH = 7320
"""The advisory lock that the application shares and the switch has alone."""
LOOK_EVERY_S = 0.2
AFTER_COMMIT_S = 0.5
EMPTY_FOR_S = 2.0
"""A transaction of the old side may have committed just before the switch, and publish only now."""
FROM_WEAKEST = ("nothing", "at_most_once", "at_least_once")
Report = Callable[[str], None]

metadata = MetaData()
migration = Table(
    "migration", metadata, Column("name", Text, primary_key=True), Column("switched", Boolean, nullable=False)
)
changed_since = Table(
    "changed_since_migration",
    metadata,
    Column("migration", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    # The newest that was scheduled, cancelled or moved since the switch: its row puts them in an order.
    Column("revision", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class NewDesignTarget:
    """Where what is pending goes: the ``Destination`` of a design that hands it over.

    transactional: whether what is scheduled there is part of the caller's transaction.
    """

    name: str
    scheduler: Scheduler
    transactional: bool = True

    def accept(self, notification: Notification, *, session: Session) -> None:
        """Schedule it there, from a store in which whoever changes it meets a lock."""
        self.scheduler.schedule(notification, session=session)

    def accept_if_unchanged(self, notification: Notification, *, session: Session) -> bool:
        """The same from any other store: what was changed, cancelled or taken since the switch is left out."""
        mine = _note(session, self.name, notification.key, notification.revision)
        if mine and self.transactional:
            self.accept(notification, session=session)
        elif mine:
            # Committed there before it is noted here: who dies in between repeats it instead of losing it.
            with Session(session.get_bind()) as there:
                self.accept(notification, session=there)
                there.commit()
        return mine


class MigratingScheduler(Scheduler):
    """The application's side: to the old design before the switch, to the new one from then on."""

    def __init__(self, name: str, old: Scheduler, new: Scheduler) -> None:
        self._name = name
        self._old = old
        self._new = new

    def schedule(self, notification: Notification, *, session: Session) -> None:
        if not self._switched(session):
            self._old.schedule(notification, session=session)
            return
        self._withdraw(notification.key, notification.revision, session)
        self._new.schedule(notification, session=session)

    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        if not self._switched(session):
            self._old.schedule_many(notifications, session=session)
            return
        # In order of their keys, so that two callers who lock the same do so in the same order.
        for notification in sorted(notifications, key=lambda one: one.key):
            self._withdraw(notification.key, notification.revision, session)
        self._new.schedule_many(notifications, session=session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        if self._switched(session):
            self._withdraw(key, revision, session)
            self._new.cancel(key, revision=revision, session=session)
        else:
            self._old.cancel(key, revision=revision, session=session)

    def _switched(self, session: Session) -> bool:
        """Held until the caller's transaction ends: the switch waits for it, and those after it for the switch."""
        session.execute(select(func.pg_advisory_xact_lock_shared(SWITCH)))
        return bool(session.scalar(select(migration.c.switched).where(migration.c.name == self._name)))

    def _withdraw(self, key: str, revision: int, session: Session) -> None:
        """Whatever of `key` has not been moved yet is not to be delivered, nor to be moved."""
        _note(session, self._name, key, revision)
        self._old.cancel(key, revision=revision, session=session)


def migration_design(old: Design, new: Design) -> Design:
    """The design ``OLD-to-NEW``: both kinds of servers, and an application that can be switched.

    Raises:
        BadUsage: one of them cannot be on that side, and why.
    """
    if old.migrate is None:
        raise BadUsage(f"{old.name} has nothing that could be handed over")
    family = old.name.partition(":")[0]
    if family == new.name.partition(":")[0]:
        raise BadUsage(
            f"{old.name} and {new.name} are of one family: what is pending stays where it is if they share a store "
            "(push_readmodel and its variant do: replace the servers), and cannot be moved if they share a queue"
        )
    if new.migration_refusal:
        raise BadUsage(f"{new.name} cannot take over from {old.name}: {new.migration_refusal}")
    name = f"{old.name}{MIGRATION_SEPARATOR}{new.name}"

    def install(engine: Engine) -> None:
        old.install(engine)
        new.install(engine)
        metadata.create_all(engine)
        with engine.begin() as connection:
            # What is left of the way here must not stand in the way back.
            connection.execute(delete(changed_since).where(changed_since.c.migration != name))
            connection.execute(delete(migration).where(migration.c.name != name))
            connection.execute(insert(migration).values(name=name, switched=False).on_conflict_do_nothing())

    def pending(settings: Settings, engine: Engine) -> Sequence[Pending]:
        return [*old.pending(settings, engine), *new.pending(settings, engine)]

    guarantees = (old.guarantees, new.guarantees)
    return Design(
        name=name,
        summary=f"{old.name} until `duetime migrate`, then {new.name}",
        weakness=f"{old.weakness}; then {new.weakness}",
        guarantees=Guarantees(
            delivery=min((one.delivery for one in guarantees), key=FROM_WEAKEST.index),
            transactional=all(one.transactional for one in guarantees),
            cancels=all(one.cancels for one in guarantees),
            as_durable_as="broker" if any(one.as_durable_as == "broker" for one in guarantees) else "database",
            due_by="workers" if any(one.due_by == "workers" for one in guarantees) else "database",
        ),
        roles=[
            *(replace(role, name=f"old-{role.name}") for role in old.roles),
            *(replace(role, name=f"new-{role.name}") for role in new.roles),
        ],
        install=install,
        scheduler=lambda settings: MigratingScheduler(name, old.scheduler(settings), new.scheduler(settings)),
        pending=pending,
        check_can_migrate=old.check_can_migrate,
        uses_broker=old.uses_broker or new.uses_broker,
    )


def migrate(
    old: Design,
    new: Design,
    settings: Settings,
    engine: Engine,
    *,
    since: datetime | None = None,
    report: Report = lambda _: None,
) -> int:
    """Switch, and move what is pending until the old design holds nothing any more; return how many moved.

    What is due within the next moment is left to the old servers, which must be running. To be repeated after a crash.
    since: where the old design had got to, for one that keeps no record of it.

    Raises:
        BadUsage: this direction is not possible, or something that it takes is missing.
    """
    both = migration_design(old, new)
    if old.check_can_migrate:
        old.check_can_migrate(settings, since)
    both.install(engine)
    destination = NewDesignTarget(both.name, new.scheduler(settings), transactional=new.guarantees.transactional)
    switch(engine, both.name)
    # Nobody can be asked: what the last transactions of the old side do after their commit is not seen from here.
    time.sleep(AFTER_COMMIT_S)
    report(f"switched: what is scheduled from now on goes to {new.name}")
    # Once in any case, and not again unless it holds something: one that holds nothing would hand over the same twice.
    moved, held_at = old.migrate(settings, engine, destination, since) if old.migrate else 0, time.monotonic()
    while time.monotonic() - held_at < EMPTY_FOR_S:
        left = len(old.pending(settings, engine))
        report(f"moved {moved}, {left} left to the servers of {old.name}")
        if left and old.migrate:
            moved += old.migrate(settings, engine, destination, since)
            held_at = time.monotonic()
        time.sleep(LOOK_EVERY_S)
    return moved


def switch(engine: Engine, name: str) -> None:
    """Wait for every transaction that is still on the old side, and hold up those that come after, for a moment."""
    with engine.begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(SWITCH)))
        connection.execute(update(migration).where(migration.c.name == name).values(switched=True))


def _note(session: Session, name: str, key: str, revision: int) -> bool:
    """Write down that `key` has come to `revision`, unless it had already; locked until the transaction ends."""
    row = insert(changed_since).values(migration=name, key=key, revision=revision)
    newer = row.on_conflict_do_update(
        index_elements=["migration", "key"],
        set_={"revision": revision},
        where=changed_since.c.revision < revision,
    )
    return session.execute(newer.returning(changed_since.c.key)).one_or_none() is not None
