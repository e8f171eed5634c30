"""The figures of `duetime status`, read without locks."""

from __future__ import annotations

from sqlalchemy import Engine, text

from duetime.interface import Status
from duetime.settings import Settings
from push_readmodel.failed import count_given_up

# xmax of a claimed row is the transaction that locked it. Trying the lock would hide the row from a worker.
STATUS = text("""
    -- The tree of a table without partitions is empty.
    WITH partitions AS (
        SELECT relid::oid FROM pg_partition_tree('pending_notifications')
        UNION SELECT 'pending_notifications'::regclass
    )
    SELECT count(*) AS pending, min(due_at) AS oldest_due_at,
           coalesce(greatest(extract(epoch FROM clock_timestamp() - min(due_at)), 0), 0)::float8 AS late_s,
           count(*) FILTER (WHERE xmax IN (SELECT backend_xid FROM pg_stat_activity)) AS claimed,
           count(*) FILTER (WHERE attempts > 0) AS failed,
           (SELECT sum(pg_table_size(relid))::bigint FROM partitions) AS bytes_of_table,
           (SELECT sum(pg_indexes_size(relid))::bigint FROM partitions) AS bytes_of_indexes,
           (SELECT sum(n_dead_tup)::bigint FROM pg_stat_user_tables JOIN partitions USING (relid)) AS dead_rows
    FROM pending_notifications
""")
LAST_ERROR = text("SELECT key, last_error FROM pending_notifications WHERE attempts > 0 ORDER BY attempt_at LIMIT 1")


def status(settings: Settings, engine: Engine) -> Status:
    """Return the figures of the tables."""
    with engine.connect() as connection:
        row = connection.execute(STATUS).one()
        failed_row = connection.execute(LAST_ERROR).one_or_none()
        given_up = count_given_up(connection)
    notes = [f"{failed_row.key} is retried after {failed_row.last_error}"] if failed_row else []
    if given_up:
        notes.append(f"nothing delivers what was given up: see duetime failed list {settings.design}")
    return Status(**row._asdict(), given_up=given_up, note="; ".join(notes))
