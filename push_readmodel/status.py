"""How the drain is doing: one look from outside, which locks nothing."""

from __future__ import annotations

from sqlalchemy import Engine, text

from duetime.interface import Status
from duetime.settings import Settings

# A claimed row carries the number of the transaction that locked it. To try the lock would take it from a server.
LOOK = text("""
    SELECT count(*) AS pending, min(due_at) AS oldest_due_at,
           coalesce(greatest(extract(epoch FROM clock_timestamp() - min(due_at)), 0), 0)::float8 AS late_s,
           count(*) FILTER (WHERE xmax IN (SELECT backend_xid FROM pg_stat_activity)) AS claimed,
           count(*) FILTER (WHERE attempts > 0) AS failed,
           pg_table_size('pending_notifications') AS bytes_of_table,
           pg_indexes_size('pending_notifications') AS bytes_of_indexes,
           (SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'pending_notifications'::regclass) AS dead_rows
    FROM pending_notifications
""")
LAST_ERROR = text("SELECT key, last_error FROM pending_notifications WHERE attempts > 0 ORDER BY attempt_at LIMIT 1")


def status(_settings: Settings, engine: Engine) -> Status:
    """Everything, because everything is in one small table."""
    with engine.connect() as connection:
        row = connection.execute(LOOK).one()
        failing = connection.execute(LAST_ERROR).one_or_none()
    note = f"{failing.key} is tried again after {failing.last_error}" if failing else ""
    return Status(**row._asdict(), note=note)
