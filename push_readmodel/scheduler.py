"""schedule() and cancel(), inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, Table, TextClause, bindparam, literal_column, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from duetime.interface import Notification, Scheduler
from duetime.limits import check_same_content, newest_revisions
from duetime.runtime.calls import check_cancel, usable_session
from duetime.runtime.lock_wait import BOUNDED, RESTORED, lock_timeout, still_being_delivered
from duetime.settings import SCHEDULE_WAIT
from push_readmodel.schema import failed, pending

CHANNEL = "pending_notifications"
ROWS_PER_STATEMENT = 1000
"""Even with the largest payloads these are far below the size limit of one JSON value."""

UPSERT = text(
    f"""
    WITH {BOUNDED}, written AS (
        INSERT INTO pending_notifications AS old (key, revision, kind, recipient, payload, due_at, attempt_at)
        SELECT key, revision, kind, recipient, payload, due_at, due_at
        FROM jsonb_to_recordset(:notifications)
            AS new(key text, revision int, kind text, recipient text, payload jsonb, due_at timestamptz)
        WHERE (SELECT true FROM bounded)
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
    SELECT count(*), {RESTORED}, CASE WHEN min(due_at) < clock_timestamp() + interval '1 hour'
        THEN pg_notify('{CHANNEL}', extract(epoch FROM min(due_at))::text) END
    FROM written
    """  # noqa: S608 - all parts are constants
).bindparams(bindparam("notifications", type_=JSONB))

EPOCH = datetime.fromtimestamp(0, UTC)
DUE_US: ColumnElement[int] = literal_column(
    "(extract(epoch FROM greatest('0001-01-01 00:00Z', least('9999-12-31 00:00Z', due_at))) * 1000000)::bigint",
    BigInteger,
).label("due_us")
"""As a number, because how a time is written depends on the DateStyle of the caller's session.

A row that was written by hand may be due at infinity: it is read as a day that ``due_at`` cannot have, and not as an
error, which would undo the caller's changes."""


def delete_older(table: Table) -> TextClause:
    """Return the statement that deletes the older revisions of a key from `table`."""
    return text(
        f"""
        WITH {BOUNDED}, deleted AS (
            DELETE FROM {table.name} WHERE key = :key AND revision < :revision AND (SELECT true FROM bounded)
            RETURNING key
        )
        SELECT count(*), {RESTORED} FROM deleted
        """  # noqa: S608 - all parts are constants
    )


FAILED_TABLE_EXISTS = text("SELECT to_regclass('failed_notifications') IS NOT NULL")
CANCEL_PENDING, CANCEL_GIVEN_UP = delete_older(pending), delete_older(failed)


class ReadModelScheduler(Scheduler):
    """Keeps pending notifications in a table of the application's database.

    wait: how long a call waits for a row that a worker is delivering, or that another transaction changes.
    """

    def __init__(self, wait: timedelta = SCHEDULE_WAIT) -> None:
        self._wait = lock_timeout(wait)
        self._has_failed_table = False

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Write the notification's row. It exists exactly if the caller commits.

        If a drain holds an older revision of the key, this waits until that batch ends. If it delivered the older
        revision, both are delivered.
        """
        self.schedule_many([notification], session=session)

    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        """Write all rows, with at most one NOTIFY for every `ROWS_PER_STATEMENT` of them."""
        session = usable_session(session)
        # One revision of each key, the newest: a statement may change a row only once.
        newest = newest_revisions(notifications)
        for start in range(0, len(newest), ROWS_PER_STATEMENT):
            batch = newest[start : start + ROWS_PER_STATEMENT]
            rows = [notification.to_json() for notification in batch]
            with still_being_delivered(_keys(batch), self._wait):
                written = session.scalar(UPSERT, {"notifications": rows, "wait": self._wait})
            if written < len(batch):
                check_stored(batch, session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the row, pending or given up. If a drain holds it, this waits until that batch ends.

        The cancel has no effect if the batch delivered the row.
        """
        session = usable_session(session)
        check_cancel(key, revision)
        arguments = {"key": key, "revision": revision, "wait": self._wait}
        # An older installation has no table for given-up notifications, and an error would undo the caller's changes.
        self._has_failed_table = self._has_failed_table or session.scalar(FAILED_TABLE_EXISTS)
        with still_being_delivered(repr(key), self._wait):
            session.execute(CANCEL_PENDING, arguments)
            if self._has_failed_table:
                # Later, because the first may have waited for a drain that gave the row up.
                session.execute(CANCEL_GIVEN_UP, arguments)


def check_stored(notifications: Sequence[Notification], session: Session) -> None:
    """Check that rows of equal revision, which were not written again, have the same content.

    Raises:
        RevisionReused: one has another.
    """
    fields = (pending.c[name] for name in ("key", "revision", "kind", "recipient"))
    rows = session.execute(select(*fields, DUE_US, pending.c.payload).where(pending.c.key.in_(_keys_of(notifications))))
    stored = {
        row.key: Notification.from_store(*row[:4], EPOCH + timedelta(microseconds=row.due_us), row.payload)
        for row in rows
    }
    for notification in notifications:
        other = stored.get(notification.key)
        if other and other.revision == notification.revision:
            check_same_content(notification, other)


def _keys_of(notifications: Sequence[Notification]) -> list[str]:
    return [notification.key for notification in notifications]


def _keys(batch: Sequence[Notification]) -> str:
    first, last = batch[0].key, batch[-1].key
    return repr(first) if first == last else f"one of {len(batch)} notifications from {first!r} to {last!r}"
