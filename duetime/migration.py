"""Migrates a running system from one design to another: pending notifications move while users go on.

The application runs with the design ``OLD-to-NEW``. Its calls go to OLD, and after the switch to NEW. The switch is a
row that each transaction of the application reads under a shared lock, so no transaction is on both sides of it.
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

from duetime.contenders import PREFIX
from duetime.errors import BadUsage
from duetime.interface import MIGRATION_SEPARATOR, Design, Guarantees, Notification, Scheduler
from duetime.limits import MAX_REVISION, newest_revisions
from duetime.runtime.calls import usable_session

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from duetime.contenders import Contender
    from duetime.settings import Settings

SWITCH_LOCK = 7320
"""The advisory lock that transactions of the application share and the switch takes exclusively."""
OLD = "old-"
"""The prefix of the roles of the old design, and so of the names of its workers."""
CHECK_EVERY_S = 0.2
AFTER_COMMIT_S = 0.5
"""How long the last transactions of the old design may take to publish after their commit."""
EMPTY_FOR_S = 2.0
"""A migration ends once the old design has held nothing for this long, because a client may publish late."""
WEAKEST_FIRST = ("unstated", "nothing", "once_without_faults", "at_most_once", "at_least_once")
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
    # The newest revision scheduled, cancelled or moved since the switch. The row's lock serialises the three.
    Column("revision", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class NewDesignTarget:
    """The ``MigrationTarget`` for any new design.

    name: the name of the migration.
    transactional: the new design stores a notification in the caller's transaction.
    """

    name: str
    scheduler: Scheduler
    transactional: bool = True

    def accept(self, notification: Notification, *, session: Session) -> None:
        self.scheduler.schedule(notification, session=session)

    def accept_if_unchanged(self, notification: Notification, *, session: Session) -> bool:
        unchanged = _record_revision(session, self.name, notification.key, notification.revision)
        if unchanged and self.transactional:
            self.accept(notification, session=session)
        elif unchanged:
            # Published before the record is committed, so a crash in between causes a duplicate, not a loss.
            with Session(session.get_bind()) as publishing:
                self.accept(notification, session=publishing)
                publishing.commit()
        return unchanged


class MigratingScheduler(Scheduler):
    """The application's scheduler: calls the old design before the switch, and the new design after it."""

    def __init__(self, name: str, old: Scheduler, new: Scheduler) -> None:
        self._name = name
        self._old = old
        self._new = new

    def schedule(self, notification: Notification, *, session: Session) -> None:
        if not self._switched(session):
            self._old.schedule(notification, session=session)
            return
        self._replace_in_old(notification, session)
        self._new.schedule(notification, session=session)

    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        if not self._switched(session):
            self._old.schedule_many(notifications, session=session)
            return
        for notification in newest_revisions(notifications):
            self._replace_in_old(notification, session)
        self._new.schedule_many(notifications, session=session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        if self._switched(session):
            self._cancel_in_old(key, revision, session)
            self._new.cancel(key, revision=revision, session=session)
        else:
            self._old.cancel(key, revision=revision, session=session)

    def _switched(self, session: Session) -> bool:
        """Return True after the switch, which waits for the end of the caller's transaction."""
        session = usable_session(session)
        session.execute(select(func.pg_advisory_xact_lock_shared(SWITCH_LOCK)))
        return bool(session.scalar(select(migration.c.switched).where(migration.c.name == self._name)))

    def _replace_in_old(self, notification: Notification, session: Session) -> None:
        """Cancel this revision in the old design, too: a call from before the switch may be repeated after it."""
        _record_revision(session, self._name, notification.key, notification.revision)
        self._old.cancel(notification.key, revision=min(notification.revision + 1, MAX_REVISION), session=session)

    def _cancel_in_old(self, key: str, revision: int, session: Session) -> None:
        """Keep older revisions of `key` from being delivered by the old design, and from being moved."""
        _record_revision(session, self._name, key, revision)
        self._old.cancel(key, revision=revision, session=session)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationDesign(Design):
    """The design ``OLD-to-NEW``. contender: in whose environment its clients run, and the migration itself."""

    old: Design
    new: Design

    def contender_of(self, role: str) -> Contender | None:
        return (self.old if role.startswith(OLD) else self.new).contender


def migration_design(old: Design, new: Design) -> MigrationDesign:
    """Return the design ``OLD-to-NEW``: the workers of both designs, and a scheduler with a switch.

    Raises:
        BadUsage: a migration from `old` to `new` is not possible.
    """
    if old.migrate is None:
        raise BadUsage(f"{old.name} cannot be migrated: it has no way to move its pending notifications")
    if _family(old) == _family(new):
        raise BadUsage(
            f"{old.name} and {new.name} are of one family: if they share a store, as push_readmodel and its variant "
            "do, replace the workers instead; if they share a queue, pending notifications cannot be moved"
        )
    if new.migration_refusal:
        raise BadUsage(f"{new.name} cannot take over from {old.name}: {new.migration_refusal}")
    name = f"{old.name}{MIGRATION_SEPARATOR}{new.name}"
    contender = _contender_of_clients(old, new)

    def install(engine: Engine) -> None:
        old.install(engine)
        new.install(engine)
        metadata.create_all(engine)
        with engine.begin() as connection:
            # The records of an earlier migration in the other direction would block this one.
            connection.execute(delete(changed_since).where(changed_since.c.migration != name))
            connection.execute(delete(migration).where(migration.c.name != name))
            connection.execute(insert(migration).values(name=name, switched=False).on_conflict_do_nothing())

    return MigrationDesign(
        name=name,
        old=old,
        new=new,
        contender=contender,
        summary=f"{old.name} until `duetime migrate`, then {new.name}",
        weakness=f"{old.weakness}; then {new.weakness}",
        guarantees=_common_guarantees(old.guarantees, new.guarantees),
        roles=[
            *(replace(role, name=f"{OLD}{role.name}") for role in old.roles),
            *(replace(role, name=f"new-{role.name}") for role in new.roles),
        ],
        install=install,
        scheduler=lambda settings: MigratingScheduler(name, old.scheduler(settings), new.scheduler(settings)),
        pending=lambda settings, engine: [*old.pending(settings, engine), *new.pending(settings, engine)],
        check_can_migrate=old.check_can_migrate,
        migrates_stopped=old.migrates_stopped,
        services=[*old.services, *new.services],
        uses_broker=old.uses_broker or new.uses_broker,
    )


def _family(design: Design) -> str:
    """Return the name without its variant."""
    return ":".join(design.name.split(":")[: 2 if design.name.startswith(PREFIX) else 1])


def _contender_of_clients(old: Design, new: Design) -> Contender | None:
    """Return the contender in whose environment clients can load both schedulers; None for duetime's own.

    Raises:
        BadUsage: no environment has the packages of both.
    """
    own = [design for design in (old, new) if design.contender and design.contender.has_own_python]
    if len(own) == 2:
        raise BadUsage(
            f"{old.name} cannot be migrated to {new.name}: an application would import both libraries, and each is in "
            "an environment of its own; migrate to push_readmodel first, and from there"
        )
    for one, other in ((old, new), (new, old)):
        if one in own and other.client_packages:
            raise BadUsage(
                f"{old.name} cannot be migrated to {new.name}: an application would import "
                f"{' and '.join(other.client_packages)}, which the environment of {one.name} does not have; migrate to "
                "push_readmodel first, and from there"
            )
    return own[0].contender if own else new.contender or old.contender


def _common_guarantees(old: Guarantees, new: Guarantees) -> Guarantees:
    """Return what both designs guarantee."""
    return Guarantees(
        delivery=min(old.delivery, new.delivery, key=WEAKEST_FIRST.index),
        transactional=old.transactional and new.transactional,
        transactional_cancel=old.cancels_transactionally and new.cancels_transactionally,
        cancels=old.cancels and new.cancels,
        has_cancel=old.has_cancel and new.has_cancel,
        unique_by_key=old.unique_by_key and new.unique_by_key,
        as_durable_as="broker" if "broker" in (old.as_durable_as, new.as_durable_as) else "database",
        due_by=old.due_by if old.due_by == new.due_by else "either",
        recovers_within_s=max(old.recovers_within_s, new.recovers_within_s),
        punctual_to_s=max(old.punctual_to_s, new.punctual_to_s),
        early_by_s=max(old.early_by_s, new.early_by_s),
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
    """Switch, and move pending notifications until the old design holds none; return how many were moved.

    Notifications due within seconds are left to the old workers, which must be running. Repeat it after a crash.

    since: how far the old design had got, for a design that keeps no record of it.
    report: receives a sentence after each step.

    Raises:
        BadUsage: the migration is not possible, or cannot start now.
    """
    both = migration_design(old, new)
    if old.check_can_migrate:
        old.check_can_migrate(settings, since)
    both.install(engine)
    target = NewDesignTarget(both.name, new.scheduler(settings), transactional=new.guarantees.transactional)
    switch(engine, both.name)
    # What the last transactions of the old design publish after their commit cannot be observed, so wait for it.
    time.sleep(AFTER_COMMIT_S)
    report(f"switched: what is scheduled from now on goes to {new.name}")
    # Once in any case. Again only if the old design holds something: a poller would move the same again.
    moved, not_empty_at = old.migrate(settings, engine, target, since) if old.migrate else 0, time.monotonic()
    while time.monotonic() - not_empty_at < EMPTY_FOR_S:
        left = len(old.pending(settings, engine))
        report(f"moved {moved}, {left} left to the workers of {old.name}")
        if left and old.migrate:
            moved += old.migrate(settings, engine, target, since)
            not_empty_at = time.monotonic()
        time.sleep(CHECK_EVERY_S)
    return moved


def switch(engine: Engine, name: str) -> None:
    """Switch after the transactions that still use the old design; later transactions wait for a moment."""
    with engine.begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(SWITCH_LOCK)))
        connection.execute(update(migration).where(migration.c.name == name).values(switched=True))


def _record_revision(session: Session, name: str, key: str, revision: int) -> bool:
    """Record `revision` as the newest of `key`, and lock the record until the transaction ends.

    Returns False if that revision or a newer one is recorded already.
    """
    row = insert(changed_since).values(migration=name, key=key, revision=revision)
    newer = row.on_conflict_do_update(
        index_elements=["migration", "key"],
        set_={"revision": revision},
        where=changed_since.c.revision < revision,
    )
    return session.execute(newer.returning(changed_since.c.key)).one_or_none() is not None
