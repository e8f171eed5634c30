"""The connection of a drain, and the session settings that it needs."""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import Engine

SET_UP = """
    SET TimeZone = 'UTC'; SET client_encoding = 'UTF8';
    -- The claim is planned once, perhaps on an empty table, and must walk the index when the table is full, too.
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
    SET enable_indexscan = on; SET enable_indexonlyscan = on;
    -- A switched-off kind of scan looks expensive, and PostgreSQL compiles expensive plans.
    SET jit = off;
    -- A worker whose machine vanishes holds its rows for half a minute. tcp_user_timeout counts while an answer is on
    -- its way, when no keepalive is sent; without it TCP tries again for a quarter of an hour.
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 4;
    SET tcp_user_timeout = 30000;
    -- No time limit of a transaction: one that cuts off a slow delivery would cut off every further attempt, too.
    SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0;
    -- Since PostgreSQL 17.
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'
"""


def connect(engine: Engine) -> psycopg.Connection[Any]:
    """Open a connection for a drain, outside the engine's pool. Closing it frees the rows that it holds.

    Raises:
        TypeError: `engine` uses another driver than psycopg.
    """
    pooled = engine.raw_connection()
    connection = pooled.driver_connection
    pooled.detach()
    if not isinstance(connection, psycopg.Connection):
        raise TypeError(f"the drain needs psycopg, not {type(connection).__name__}; use postgresql+psycopg://")
    connection.autocommit = True
    connection.execute(SET_UP)
    return connection
