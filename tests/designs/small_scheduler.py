"""A correct scheduler in a table without constraints, and one way to break each promise of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings


class Small(Scheduler):
    """A row for each pending notification, in the caller's transaction."""

    def __init__(self, settings: Settings) -> None:
        self.engine = create_engine(settings.database_url, poolclass=NullPool)

    def schedule(self, notification: Notification, *, session: Session) -> None:
        older = session.execute(
            text("SELECT max(revision) FROM small WHERE key = :key"), {"key": notification.key}
        ).scalar()
        if older is None or older < notification.revision:
            self.remove(session, "key = :key", key=notification.key)
            self.add(notification, session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        self.remove(session, "key = :key AND revision < :revision", key=key, revision=revision)

    def add(self, notification: Notification, session: Session) -> None:
        values = {"key": notification.key, "revision": notification.revision}
        session.execute(text("INSERT INTO small VALUES (:key, :revision)"), values)

    def remove(self, session: Session, which: str, **values: Any) -> None:
        session.execute(text(f"DELETE FROM small WHERE {which}"), values)


class StoresNothing(Small):
    def schedule(self, notification: Notification, *, session: Session) -> None:
        pass


class StoresAtOnce(Small):
    def schedule(self, notification: Notification, *, session: Session) -> None:
        with Session(self.engine) as own, own.begin():
            super().schedule(notification, session=own)


class Commits(Small):
    def schedule(self, notification: Notification, *, session: Session) -> None:
        super().schedule(notification, session=session)
        session.commit()


class ListensToSqlalchemy(Small):
    """As one writes it at first: SQLAlchemy fires this event for a released savepoint too."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        outbox: list[Notification] = session.info.setdefault("outbox", [])
        if not outbox:
            event.listen(session, "after_commit", self.publish)
        outbox.append(notification)

    def publish(self, session: Session) -> None:
        with Session(self.engine) as own, own.begin():
            for notification in session.info.pop("outbox", []):
                super().schedule(notification, session=own)


class CancelsAll(Small):
    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        self.remove(session, "revision < :revision", revision=revision)


class CancelsAtOnce(Small):
    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        with Session(self.engine) as own, own.begin():
            super().cancel(key, revision=revision, session=own)


class CancelsNewer(Small):
    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        self.remove(session, "key = :key", key=key)


class CancelsForEver(Small):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.cancelled: set[str] = set()

    def schedule(self, notification: Notification, *, session: Session) -> None:
        if notification.key not in self.cancelled:
            super().schedule(notification, session=session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        super().cancel(key, revision=revision, session=session)
        if not session.get_nested_transaction():
            self.cancelled.add(key)


class KeepsOlder(Small):
    def schedule(self, notification: Notification, *, session: Session) -> None:
        values = {"key": notification.key, "revision": notification.revision}
        found = session.execute(text("SELECT 1 FROM small WHERE key = :key AND revision = :revision"), values)
        if not found.scalar():
            self.add(notification, session)


class TakesOlder(Small):
    def schedule(self, notification: Notification, *, session: Session) -> None:
        self.remove(session, "key = :key", key=notification.key)
        self.add(notification, session)


class AddsAgain(Small):
    def schedule(self, notification: Notification, *, session: Session) -> None:
        self.cancel(notification.key, revision=notification.revision, session=session)
        self.add(notification, session)


class StoresFirstOfMany(Small):
    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        self.schedule(notifications[0], session=session)


class LowersKeys(Small):
    def schedule(self, notification: Notification, *, session: Session) -> None:
        key = notification.key.replace(" ", "-")
        super().schedule(replace(notification, key=key), session=session)


class Raises(Small):
    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        raise KeyError(key)


def install(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS small (key text, revision int)"))


def install_once(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE small (key text, revision int)"))


def refuse(_engine: Engine) -> None:
    raise PermissionError("no CREATE here")


def pending(_settings: Settings, engine: Engine) -> Sequence[Pending]:
    with engine.connect() as connection:
        return [Pending(op, "small") for (op,) in connection.execute(text("SELECT key || '/' || revision FROM small"))]


design = Design(
    name="small",
    summary="a row for each notification, and no worker that delivers it",
    weakness="it delivers nothing",
    guarantees=Guarantees(delivery="at_least_once", transactional=True, cancels=True),
    roles=[Role(name="worker", argv=("{python}", "-c", "print('ready', flush=True); input()"), ready="ready")],
    install=install,
    scheduler=Small,
    pending=pending,
)
its_twin = replace(design)
stores_at_once = replace(design, name="stores_at_once", scheduler=StoresAtOnce)
cannot_start = replace(design, name="cannot_start", scheduler=StoresNothing, install=refuse)
