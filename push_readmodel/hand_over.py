"""Moving what is pending to another design, row by row in one transaction each hundred."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, delete, func, select, text
from sqlalchemy.orm import Session

from duetime.interface import Destination, Notification
from duetime.settings import Settings
from push_readmodel.schema import pending

AT_ONCE = 100
SOON = text("interval '1 second'")
"""What is due by then its own servers deliver."""


def hand_over(_settings: Settings, engine: Engine, to: Destination, _since: datetime | None) -> int:
    """Take out what no server holds and schedule it there, both or neither; return how many moved."""
    movable = (
        select(pending)
        .where(pending.c.attempt_at > func.clock_timestamp() + SOON)
        .order_by(pending.c.attempt_at)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    moved = 0
    with Session(engine) as session:
        while rows := session.execute(movable).all():
            for row in rows:
                notification = Notification.restored(
                    row.key, row.revision, row.kind, row.recipient, row.due_at, row.payload
                )
                to.take(notification, session=session)
            session.execute(delete(pending).where(pending.c.key.in_([row.key for row in rows])))
            session.commit()
            moved += len(rows)
    return moved
