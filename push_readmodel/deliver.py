"""The drain: claim what is due, deliver each, delete it, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, func, select, update

from duetime.gateway import Gateway
from duetime.interface import Notification
from push_readmodel.schema import pending

BATCH = 10
"""Rows in one transaction: the most that a crash can repeat, and how long a cancel may have to wait."""

FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(hours=1)


def drain(engine: Engine, gateway: Gateway, *, batch: int = BATCH, stopping: Callable[[], bool] = lambda: False) -> int:
    """Deliver until nothing is due, or until `stopping` after some batch; return how many were delivered."""
    delivered = 0
    while not stopping():
        with engine.begin() as connection:
            rows = claim_due(connection, limit=batch)
            delivered += deliver_batch(connection, gateway, rows)
        if len(rows) < batch:
            break
    return delivered


def deliver_batch(connection: Connection, gateway: Gateway, rows: Sequence[Row[Any]]) -> int:
    """Deliver each of `rows`; delete those that arrived, put back those that did not."""
    done: list[int] = []
    for row in rows:
        try:
            gateway.deliver(as_notification(row), attempt=row.attempts + 1)
        except Exception as error:  # noqa: BLE001 - whatever a gateway raises concerns this one notification
            put_back(connection, row, error)
        else:
            done.append(row.id)
    if done:
        delete_delivered(connection, done)
    return len(done)


def claim_due(connection: Connection, *, limit: int) -> Sequence[Row[Any]]:
    """Lock up to `limit` due rows, earliest first, until the caller's transaction ends.

    Due is judged by the database's clock, so a server with a wrong clock is never early.
    """
    return connection.execute(claim_statement(limit=limit)).all()


def claim_statement(*, limit: int) -> Select[Any]:
    return (
        # The locking SELECT itself returns the rows. Joined to a locking subquery, they would be read as they stood
        # before the lock, and a revision that was replaced in between would be delivered in the place of the newer.
        select(pending)
        # now() would be the transaction's start, and stand still while a batch is delivered.
        .where(pending.c.attempt_at <= func.clock_timestamp())
        .order_by(pending.c.attempt_at, pending.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def delete_delivered(connection: Connection, ids: Sequence[int]) -> None:
    connection.execute(delete(pending).where(pending.c.id == func.any(list(ids))))


def put_back(connection: Connection, row: Row[Any], error: Exception) -> None:
    """Keep one failed notification for a later attempt: after 1 s, 2 s, 4 s … up to an hour."""
    wait = min(FIRST_RETRY * 2 ** min(row.attempts, 20), LONGEST_RETRY)
    connection.execute(
        update(pending)
        .where(pending.c.id == row.id)
        .values(
            attempts=row.attempts + 1,
            attempt_at=func.clock_timestamp() + wait,
            last_error=f"{type(error).__name__}: {error}"[:500],
        )
    )


def seconds_until_next(connection: Connection) -> float | None:
    """Seconds until the earliest row is due, by the database's clock; None if there is no row.

    Zero or less means that a row is due and another server holds it.
    """
    wait = select(func.extract("epoch", func.min(pending.c.attempt_at) - func.clock_timestamp()))
    seconds = connection.execute(wait).scalar()
    return None if seconds is None else float(seconds)


def as_notification(row: Row[Any]) -> Notification:
    return Notification(
        key=row.key,
        revision=row.revision,
        kind=row.kind,
        recipient=row.recipient,
        due_at=row.due_at,
        payload=row.payload,
    )
