"""Moving what is pending to another design: locked here, scheduled and committed there, deleted here."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, delete, func, select, text
from sqlalchemy.orm import Session

from duetime.interface import MigrationTarget, Notification
from duetime.settings import Settings
from push_readmodel.schema import pending

AT_ONCE = 100
SOON = text("interval '1 second'")
"""What is due by then its own servers deliver."""


def migrate(_settings: Settings, engine: Engine, to: MigrationTarget, _since: datetime | None) -> int:
    """Schedule there what no server holds, and delete it here; return how many moved.

    In this order: who dies in between, or cannot reach the other store, repeats up to a hundred instead of losing them.
    """
    movable = (
        select(pending)
        .where(pending.c.attempt_at > func.clock_timestamp() + SOON)
        .order_by(pending.c.attempt_at)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    moved = 0
    with Session(engine) as session, Session(engine) as there:
        while rows := session.execute(movable).all():
            for row in rows:
                notification = Notification.from_store(
                    row.key, row.revision, row.kind, row.recipient, row.due_at, row.payload
                )
                to.accept(notification, session=there)
            there.commit()
            session.execute(delete(pending).where(pending.c.key.in_([row.key for row in rows])))
            session.commit()
            moved += len(rows)
    return moved
