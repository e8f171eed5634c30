"""Move pending rows to another design: lock here, schedule and commit there, delete here."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, create_engine, delete, func, select, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from duetime.interface import MigrationTarget, Notification
from duetime.settings import Settings
from push_readmodel.failed import refuse_given_up
from push_readmodel.schema import pending

ROWS_PER_TRANSACTION = 100
SOON = text("interval '1 second'")
"""Rows due within this time stay: the workers of this design deliver them."""


def check_can_migrate(settings: Settings, _since: datetime | None) -> None:
    """Refuse to start while failed_notifications has rows.

    Raises:
        BadUsage: it has.
    """
    refuse_given_up(create_engine(settings.database_url, poolclass=NullPool))


def migrate(_settings: Settings, engine: Engine, to: MigrationTarget, _since: datetime | None) -> int:
    """Move every row that is not due within a second and that no worker holds. Returns the number of moved rows.

    The delete comes last: a crash between the two commits duplicates up to 100 rows and loses none.

    Raises:
        BadUsage: a worker has given up a notification, which stays where it is.
    """
    refuse_given_up(engine)
    movable = (
        select(pending)
        .where(pending.c.attempt_at > func.clock_timestamp() + SOON)
        .order_by(pending.c.attempt_at)
        .limit(ROWS_PER_TRANSACTION)
        .with_for_update(skip_locked=True)
    )
    moved = 0
    with Session(engine) as session, Session(engine) as target_session:
        while rows := session.execute(movable).all():
            for row in rows:
                notification = Notification.from_store(
                    row.key, row.revision, row.kind, row.recipient, row.due_at, row.payload
                )
                to.accept(notification, session=target_session)
            target_session.commit()
            session.execute(delete(pending).where(pending.c.key.in_([row.key for row in rows])))
            session.commit()
            moved += len(rows)
    return moved
