"""schedule() and cancel(), inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from sqlalchemy import bindparam, delete, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from duetime.interface import Notification, Scheduler
from push_readmodel.schema import failed, pending

CHANNEL = "pending_notifications"
ROWS_PER_STATEMENT = 1000
"""Even with the largest payloads these are far below the size limit of one JSON value."""

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
    -- PostgreSQL sends the NOTIFY when the transaction commits. Such commits run one at a time: they take a lock that
    -- all databases of the server share. So there is no NOTIFY for rows due in more than an hour: the loop of each
    -- worker (drain_loop.py) checks the table every few seconds.
    SELECT pg_notify('{CHANNEL}', extract(epoch FROM min(due_at))::text)
    FROM written HAVING min(due_at) < clock_timestamp() + interval '1 hour'
    """  # noqa: S608 - the channel is a constant
).bindparams(bindparam("notifications", type_=JSONB))


class ReadModelScheduler(Scheduler):
    """Keeps pending notifications in a table of the application's database."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Write the notification's row. It exists exactly if the caller commits.

        If a drain holds an older revision of the key, this blocks until that batch ends. If it delivered the older
        revision, both are delivered.
        """
        self.schedule_many([notification], session=session)

    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        """Write all rows, with at most one NOTIFY for every `ROWS_PER_STATEMENT` of them."""
        # One revision of each key, the newest: a statement may change a row only once.
        newest = {item.key: item for item in sorted(notifications, key=attrgetter("revision"))}
        # Ordered by key, so that two callers lock the same rows in the same order and do not deadlock.
        rows = [newest[key].to_json() for key in sorted(newest)]
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            session.execute(UPSERT, {"notifications": rows[start : start + ROWS_PER_STATEMENT]})

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the row, pending or given up. If a drain holds it, this blocks until that batch ends.

        The cancel has no effect if the batch delivered the row.
        """
        session.execute(delete(pending).where(pending.c.key == key, pending.c.revision < revision))
        # A second statement, because the first may have waited for a drain that gave the row up.
        session.execute(delete(failed).where(failed.c.key == key, failed.c.revision < revision))
