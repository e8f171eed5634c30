"""A recording gateway and shorthands for tests of the read model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from duetime.interface import Notification
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import failed, pending

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)
SECRET = "secret@b.example"
"""The recipient of each notification that `give_up` stores."""


class RecordingGateway:
    """A gateway that records deliveries and refuses one recipient.

    delivered: set at the first delivery.
    """

    def __init__(self, refuse: str = "") -> None:
        self.ops: list[str] = []
        self.attempts: list[int] = []
        self.delivered = threading.Event()
        self._refuse = refuse

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.attempts.append(attempt)
        if notification.recipient == self._refuse:
            raise ConnectionError("mailbox unavailable")
        self.ops.append(notification.op)
        self.delivered.set()


def note(key: str, *, revision: int = 1, due_at: datetime = PAST, recipient: str = "a@b.example") -> Notification:
    return Notification(key=key, revision=revision, kind="test", recipient=recipient, due_at=due_at)


def schedule(engine: Engine, *notifications: Notification) -> None:
    with Session(engine) as session:
        for notification in notifications:
            ReadModelScheduler().schedule(notification, session=session)
        session.commit()


def stored(engine: Engine) -> list[str]:
    """Return the revisions in the table, ordered by key."""
    with engine.connect() as connection:
        rows = connection.execute(select(pending.c.key, pending.c.revision).order_by(pending.c.key))
        return [f"{row.key}/{row.revision}" for row in rows]


@contextmanager
def running(*loops: DrainLoop) -> Iterator[None]:
    """Run loops in threads of their own."""
    threads = [threading.Thread(target=loop.run) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        for thread in threads:
            thread.join(timeout=5)


def sleeping(engine: Engine) -> int:
    """Return how many loops have tried to lead, their last query before a sleep."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'idle' AND query LIKE '%%pg_try_advisory_lock%%'"
    )
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(query).scalar_one())


def give_up(
    engine: Engine, key: str, *, revision: int = 1, given_up_at: datetime = PAST, error: str = "ConnectionError: no"
) -> None:
    """Store a notification as if a drain had given it up."""
    row = {"key": key, "revision": revision, "kind": "test", "recipient": SECRET, "payload": {}, "due_at": PAST}
    with engine.begin() as connection:
        connection.execute(insert(failed).values(**row, attempts=3, last_error=error, given_up_at=given_up_at))


def given_up(engine: Engine) -> list[str]:
    """Return the given-up revisions, ordered by key."""
    with engine.connect() as connection:
        rows = connection.execute(select(failed.c.key, failed.c.revision).order_by(failed.c.key))
        return [f"{row.key}/{row.revision}" for row in rows]
