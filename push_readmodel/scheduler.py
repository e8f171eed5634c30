"""schedule() and cancel(): one statement each, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from duetime.interface import Notification, Scheduler
from push_readmodel.schema import pending

CHANNEL = "pending_notifications"
TOGETHER = 1000
"""Rows in one statement: even of the largest payloads they are far from what one JSON value can hold."""

UPSERT = text(
    f"""
    WITH written AS (
        INSERT INTO pending_notifications AS old (key, revision, kind, recipient, payload, due_at, attempt_at)
        SELECT key, revision, kind, recipient, payload, due_at, due_at
        FROM jsonb_to_recordset(:notifications)
            AS new(key text, revision int, kind text, recipient text, payload jsonb, due_at timestamptz)
        ON CONFLICT (key) DO UPDATE
        SET (revision, kind, recipient, payload, due_at, attempt_at, attempts, last_error)
            = (excluded.revision, excluded.kind, excluded.recipient, excluded.payload, excluded.due_at,
               excluded.attempt_at, 0, NULL)
        WHERE old.revision < excluded.revision
        RETURNING due_at
    )
    -- Arrives with the commit, never before the row. Committing it takes a lock of which the whole server has one, so
    -- nobody is told of what is due in an hour or more: every loop looks each minute.
    SELECT pg_notify('{CHANNEL}', extract(epoch FROM min(due_at))::text)
    FROM written HAVING min(due_at) < clock_timestamp() + interval '1 hour'
    """  # noqa: S608 - the channel is ours
).bindparams(bindparam("notifications", type_=JSONB))


class ReadModel(Scheduler):
    """Keeps what is to be delivered in a table of its own, in the application's database."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Write the row that a drain will find. It exists exactly if the caller commits.

        A drain that holds this key's older revision at this moment finishes first: then both are delivered.
        """
        self.schedule_many([notification], session=session)

    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        """All rows in one statement, and one word to the servers; of many, so many at a time."""
        # The newest of each key: a statement may change a row only once.
        newest = {one.key: one for one in sorted(notifications, key=lambda one: one.revision)}
        # In order of their keys, so that two callers who lock the same rows do so in the same order.
        rows = [newest[key].to_json() for key in sorted(newest)]
        for start in range(0, len(rows), TOGETHER):
            session.execute(UPSERT, {"notifications": rows[start : start + TOGETHER]})

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the row. If a drain holds it, wait for that delivery to end; it cannot be called back."""
        session.execute(delete(pending).where(pending.c.key == key, pending.c.revision < revision))
