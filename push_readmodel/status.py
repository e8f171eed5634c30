"""The figures of `duetime status`, read without locks."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import psycopg
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from duetime.interface import Status
from duetime.settings import Settings
from duetime.shell_command import shell_command
from push_readmodel.connection import open_connection
from push_readmodel.failed import count_given_up
from push_readmodel.pooler import POOLED, check_same_database, session_is_lent

# xmax of a claimed row is the transaction that locked it. Trying the lock would hide the row from a worker.
STATUS = text("""
    -- The tree of a table without partitions is empty.
    WITH partitions AS (
        SELECT relid::oid FROM pg_partition_tree('pending_notifications')
        UNION SELECT 'pending_notifications'::regclass
    )
    SELECT count(*) AS pending, min(in_calendar) AS oldest_due_at,
           coalesce(greatest(extract(epoch FROM clock_timestamp() - min(in_calendar)), 0), 0)::float8 AS late_s,
           count(*) FILTER (WHERE xmax IN (SELECT backend_xid FROM pg_stat_activity)) AS claimed,
           count(*) FILTER (WHERE attempts > 0) AS failed,
           (SELECT sum(pg_table_size(relid))::bigint FROM partitions) AS bytes_of_table,
           (SELECT sum(pg_indexes_size(relid))::bigint FROM partitions) AS bytes_of_indexes,
           (SELECT sum(n_dead_tup)::bigint FROM pg_stat_user_tables JOIN partitions USING (relid)) AS dead_rows
    FROM pending_notifications,
         -- Python's calendar has the years 1 to 9999, and a row written by hand may be due at any time, or infinity.
         LATERAL (SELECT greatest('0001-01-02 00:00Z', least('9999-12-30 00:00Z', due_at)) AS in_calendar) AS bounded
""")
LAST_ERROR = text("SELECT key, last_error FROM pending_notifications WHERE attempts > 0 ORDER BY attempt_at LIMIT 1")


def status(settings: Settings, engine: Engine) -> Status:
    """Return the figures of the tables, and a note if a pooler makes its workers late."""
    figures = figures_of_table(settings, engine)
    notes = [figures.note, note_about_pooler(settings, engine)]
    return replace(figures, note="; ".join(note for note in notes if note))


def note_about_pooler(settings: Settings, engine: Engine) -> str:
    """Return what is wrong with the way from workers with these settings to the database; empty if nothing is.

    Leaves nothing in a session that others use, too.
    """
    direct_url = settings.direct_database_url
    direct = create_engine(direct_url, poolclass=NullPool) if direct_url else engine
    try:
        with closing(open_connection(direct)) as first, closing(open_connection(direct)) as second:
            if direct_url:
                with closing(open_connection(engine)) as application:
                    check_same_database(first, application)
            lent = session_is_lent(first, second)
    except (SQLAlchemyError, psycopg.Error) as error:
        # Without a direct URL the figures were read over the same way, so there are too few connections.
        return f"DUETIME_DIRECT_DATABASE_URL does not answer: {str(error).splitlines()[0]}" if direct_url else ""
    not_direct = "DUETIME_DIRECT_DATABASE_URL is not direct: " if direct_url else ""
    return f"{not_direct}each worker {POOLED}" if lent else ""


def figures_of_table(settings: Settings, engine: Engine) -> Status:
    """Return the figures of the tables."""
    with engine.connect() as connection:
        row = connection.execute(STATUS).one()
        failed_row = connection.execute(LAST_ERROR).one_or_none()
        given_up, reason = count_given_up(connection)
    notes = [f"{failed_row.key} is retried after {failed_row.last_error}"] if failed_row else []
    if reason:
        notes.append(reason)
    if given_up:
        notes.append(f"nothing delivers what was given up: see {shell_command('failed', 'list', settings.design)}")
    return Status(**row._asdict(), given_up=given_up, note="; ".join(notes))
