"""Given-up notifications: what a drain writes to failed_notifications, and what `duetime failed` does with them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from duetime.errors import BadUsage
from duetime.interface import GivenUp, GivenUpStore
from duetime.runtime.gateway import GiveUp
from duetime.shell_command import shell_command
from push_readmodel.guards import TableRefused
from push_readmodel.scheduler import CHANNEL

log = logging.getLogger(__name__)

ROWS_PER_TRANSACTION = 1000

# Deleted is what was stored: a trigger may keep a row out of the table. An older revision of the key may be there from
# before; if a newer one is, this one was replaced. least(): the counter of an edited row may be at its end.
GIVE_UP = """
    WITH stored AS (
        INSERT INTO failed_notifications AS old
            (key, revision, kind, recipient, payload, due_at, attempts, last_error, given_up_at)
        SELECT key, revision, kind, recipient, payload, due_at, least(attempts, 2147483646) + 1, %(error)s,
               clock_timestamp()
        FROM pending_notifications WHERE key = %(key)s
        ON CONFLICT (key) DO UPDATE
        SET (revision, kind, recipient, payload, due_at, attempts, last_error, given_up_at)
            = (excluded.revision, excluded.kind, excluded.recipient, excluded.payload, excluded.due_at,
               excluded.attempts, excluded.last_error, excluded.given_up_at)
        WHERE old.revision <= excluded.revision
        RETURNING key
    )
    DELETE FROM pending_notifications AS pending
    WHERE pending.key = %(key)s
      AND (EXISTS (SELECT FROM stored)
           OR EXISTS (SELECT FROM failed_notifications AS newer
                      WHERE newer.key = pending.key AND newer.revision > pending.revision))
"""
# Before the delivered rows are deleted: a retry of the key that runs meanwhile must still find them pending.
REMOVE_REPLACED = """
    DELETE FROM failed_notifications AS failed USING unnest(%s::text[], %s::int[]) AS delivered (key, revision)
    WHERE failed.key = delivered.key AND failed.revision <= delivered.revision
"""

INSPECT = """
    SELECT current_user::text, t.oid IS NOT NULL,
           ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p
                 WHERE NOT has_table_privilege(t.oid, p)),
           coalesce(row_security_active(t.oid), false)
    FROM (SELECT to_regclass('failed_notifications')::oid AS oid) AS t
"""
FIND = """
    SELECT failed.key, failed.revision, failed.kind, failed.recipient, failed.due_at, failed.attempts,
           failed.given_up_at, failed.last_error, pending.revision AS pending_revision
    FROM failed_notifications AS failed LEFT JOIN pending_notifications AS pending USING (key)
"""
READABLE = """
    SELECT coalesce(has_table_privilege(to_regclass('failed_notifications')::oid, 'SELECT'), false),
           to_regclass('failed_notifications') IS NOT NULL
"""
INSTALL = shell_command("install", "push_readmodel")
NOT_INSTALLED = f"no table failed_notifications; an older version is installed: run `{INSTALL}`"
COUNT = text("""
    SELECT count(*) FROM failed_notifications AS failed
    WHERE NOT EXISTS (SELECT FROM pending_notifications AS pending
                      WHERE pending.key = failed.key AND pending.revision >= failed.revision)
""")
# NOT EXISTS, because ON CONFLICT alone would wait for a worker that delivers a newer revision of the key.
RETRY = text(f"""
    WITH chosen AS (
        SELECT failed.* FROM failed_notifications AS failed
        JOIN unnest(CAST(:keys AS text[]), CAST(:revisions AS int[])) AS wanted (key, revision) USING (key, revision)
        WHERE NOT EXISTS (SELECT FROM pending_notifications AS pending WHERE pending.key = failed.key)
        ORDER BY failed.key FOR UPDATE OF failed
    ), put_back AS (
        INSERT INTO pending_notifications (key, revision, kind, recipient, payload, due_at, attempt_at)
        SELECT key, revision, kind, recipient, payload, due_at, statement_timestamp() FROM chosen
        ON CONFLICT (key) DO NOTHING
        RETURNING key, revision, attempt_at
    ), removed AS (
        DELETE FROM failed_notifications AS failed USING put_back WHERE failed.key = put_back.key
    )
    SELECT key, revision, pg_notify('{CHANNEL}', extract(epoch FROM attempt_at)::text) FROM put_back ORDER BY key
""")  # noqa: S608 - the channel is a constant
DISCARD = text("""
    DELETE FROM failed_notifications AS failed
    USING unnest(CAST(:keys AS text[]), CAST(:revisions AS int[])) AS wanted (key, revision)
    WHERE failed.key = wanted.key AND failed.revision = wanted.revision
    RETURNING failed.key, failed.revision
""")


def is_last_attempt(attempts: int, error: BaseException, max_attempts: int) -> bool:
    """Return True if a delivery that failed with `error`, the notification's `attempts`-th, is not retried."""
    return max_attempts > 0 and (attempts >= max_attempts or isinstance(error, GiveUp))


def check_failed_table(connection: psycopg.Connection[Any]) -> None:
    """Check that a drain over `connection` can give notifications up.

    Raises:
        TableRefused: with what to change. Otherwise the move would fail and repeat the deliveries of its batch.
    """
    [(role, found, missing, row_security)] = connection.execute(INSPECT).fetchall()
    grant = f"GRANT SELECT, INSERT, UPDATE, DELETE ON failed_notifications TO {role}"
    if not found:
        reason = f"there is no table failed_notifications; create it with `{INSTALL}`"
    elif missing:
        reason = f"the role {role} may not {', '.join(missing)} on failed_notifications; {grant}"
    elif row_security:
        reason = f"row level security on failed_notifications applies to the role {role}; drain as the table's owner"
    else:
        return
    raise TableRefused(f"DUETIME_MAX_ATTEMPTS is set, but {reason}")


class FailedNotifications(GivenUpStore):
    """The table failed_notifications."""

    def find(
        self, engine: Engine, *, keys: Collection[str] | None = None, limit: int | None = None
    ) -> Sequence[GivenUp]:
        """Return the oldest `limit` rows, or those of `keys`."""
        statement = text(
            f"{FIND} WHERE CAST(:keys AS text[]) IS NULL OR failed.key = ANY(CAST(:keys AS text[])) "
            "ORDER BY failed.given_up_at, failed.key LIMIT :limit"
        )
        with _transaction(engine) as connection:
            rows = connection.execute(statement, {"keys": None if keys is None else list(keys), "limit": limit})
            return [GivenUp(**row) for row in rows.mappings()]

    def retry(self, engine: Engine, given_up: Sequence[GivenUp]) -> Iterator[str]:
        """Move rows back to pending_notifications, due now and with no attempts, unless their key is pending again.

        Yields the op of each row that was moved, after the commit.

        Raises:
            BadUsage: a transaction that has not ended yet schedules one of the keys.
        """
        return _in_transactions(engine, RETRY, given_up)

    def discard(self, engine: Engine, given_up: Sequence[GivenUp]) -> Iterator[str]:
        """Delete rows. Yields the op of each, after the commit."""
        return _in_transactions(engine, DISCARD, given_up)


def warn_if_missing(connection: psycopg.Connection[Any]) -> None:
    """Log a warning if an older version installed the table of pending notifications alone."""
    [(_, found)] = connection.execute(READABLE, prepare=False).fetchall()
    if not found:
        log.warning(NOT_INSTALLED)


def count_given_up(connection: Connection) -> tuple[int | None, str]:
    """Return the number of given-up notifications of which no equal or newer revision is pending.

    If the table cannot be read: None, and what to change.
    """
    readable, found = connection.execute(text(READABLE)).one()
    if readable:
        return int(connection.execute(COUNT).scalar_one()), ""
    return None, "this role may not SELECT from failed_notifications; GRANT it" if found else NOT_INSTALLED


def refuse_given_up(engine: Engine) -> None:
    """Raise `BadUsage` if the table has a row: a migration moves only pending notifications."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT count(*) FROM failed_notifications")).scalar_one()
    if rows:
        raise BadUsage(
            f"failed_notifications holds {rows} given-up notifications, which a migration does not move; retry or "
            f"discard them ({shell_command('failed', 'list', 'push_readmodel')}), then run this command again"
        )


def _in_transactions(engine: Engine, statement: Any, given_up: Sequence[GivenUp]) -> Iterator[str]:
    for start in range(0, len(given_up), ROWS_PER_TRANSACTION):
        chunk = given_up[start : start + ROWS_PER_TRANSACTION]
        wanted = {"keys": [item.key for item in chunk], "revisions": [item.revision for item in chunk]}
        try:
            with _transaction(engine) as connection:
                changed = connection.execute(statement, wanted).all()
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != "55P03":  # lock_not_available
                raise
            raise BadUsage(
                f"another transaction holds {chunk[0].op} or one of the {len(chunk) - 1} after it; "
                "run this command again when it has ended"
            ) from error
        yield from (f"{row.key}/{row.revision}" for row in changed)


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction that can read every time, whatever the database's settings are."""
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
        connection.exec_driver_sql("SET LOCAL DateStyle = 'ISO'; SET LOCAL TimeZone = 'UTC'")
        # Shorter than deadlock_timeout: this command gives way to the application and to workers.
        connection.exec_driver_sql("SET LOCAL lock_timeout = '500ms'")
        yield connection
