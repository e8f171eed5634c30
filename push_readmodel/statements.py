"""The SQL of the drain."""

from __future__ import annotations

from push_readmodel.scheduler import CHANNEL

FRONT_OF_INDEX = "-infinity"
"""As early as an `attempt_at` can be: a claim from here begins at the front of the index."""
FIRST_DAY, LAST_DAY = "'0001-01-02 00:00Z'", "'9999-12-30 00:00Z'"
"""Of Python's calendar, in every time zone. A row written by hand may be due at any time, or at infinity."""

# The database's clock decides what is due, so a worker with a wrong clock is never early (for look-ahead see clock.py).
# statement_timestamp() is constant, so the index scan can stop at the first row that is not due. clock_timestamp()
# changes from row to row, and now() is the time of BEGIN, which a long transaction leaves behind.
# The locking SELECT must return the rows itself: a join with a locking subquery reads them as they were before the
# lock, and would deliver a revision that was replaced meanwhile.
CLAIM = f"""
    SELECT attempts, greatest({FIRST_DAY}, attempt_at),
           extract(epoch FROM greatest({FIRST_DAY}, attempt_at) - clock_timestamp())::float8,
           key, revision, kind, recipient, greatest({FIRST_DAY}, least(due_at, {LAST_DAY})), payload::text
    FROM pending_notifications
    WHERE attempt_at BETWEEN %s AND statement_timestamp() + %s
    ORDER BY attempt_at LIMIT %s FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - constants
# READ COMMITTED whatever the role's default is: at a higher level a claim or a delete fails when another transaction
# changed the row meanwhile, and the whole batch would be delivered again.
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
# By key: a ctid identifies a row only within its partition.
DELETE = "DELETE FROM pending_notifications WHERE key = ANY(%s)"
PUT_BACK = f"""
    WITH later AS (
        UPDATE pending_notifications
        -- least(): attempts of a row that was edited by hand may be at its end.
        SET attempts = least(attempts, 2147483646) + 1, attempt_at = clock_timestamp() + %s, last_error = %s
        WHERE key = %s
        RETURNING attempt_at
    )
    -- A trigger may have changed the time: then no row is returned, and the worker ends.
    SELECT pg_notify('{CHANNEL}', extract(epoch FROM attempt_at)::text) FROM later
    WHERE attempt_at > statement_timestamp()
"""  # noqa: S608 - the channel is a constant
REMAINING = """
    SELECT extract(epoch FROM clock_timestamp())::float8,
           EXISTS (SELECT FROM pending_notifications WHERE attempt_at <= statement_timestamp() + %(ahead)s),
           (SELECT extract(epoch FROM attempt_at)::float8 FROM pending_notifications
            WHERE attempt_at > statement_timestamp() + %(ahead)s ORDER BY attempt_at LIMIT 1)
"""
