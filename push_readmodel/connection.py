"""The connections of a drain, and the settings that it needs."""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import Engine

from push_readmodel.drain_settings import VANISHED_AFTER_S

SETTINGS = {
    "TimeZone": "UTC",
    "client_encoding": "UTF8",
    # For statements outside of BEGIN, whatever the defaults of the role are.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    # The claim is planned once, perhaps on an empty table, and must walk the index when the table is full, too.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_indexscan": "on",
    "enable_indexonlyscan": "on",
    # A switched-off kind of scan looks expensive, and PostgreSQL compiles expensive plans.
    "jit": "off",
    # No time limit of a transaction: one that cuts off a slow delivery would cut off every further attempt, too.
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
NOTICING = ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
"""Names of libpq. The settings of the server have the same, with ``tcp_`` before the first three."""
SINCE_17 = {"transaction_timeout": "0"}


def noticing(vanished_after_s: int) -> dict[str, int]:
    """Return the options of libpq with which a client notices within this time that the server's machine has vanished.

    tcp_user_timeout counts while data is on its way, when no keepalive is sent. Without it TCP tries again for a
    quarter of an hour.
    """
    idle_s = max(1, vanished_after_s // 3)
    return dict(zip(NOTICING, (idle_s, max(1, idle_s // 2), 4, 1000 * vanished_after_s), strict=True))


def set_up(connection: psycopg.Connection[Any], *, for_transaction: bool = False) -> str:
    """Return the statement that sets `SETTINGS`, for the session or for the transaction in which it is executed.

    The server notices as soon as the client that the other's machine has vanished: until then, the rows stay locked.
    """
    of_client = {**noticing(VANISHED_AFTER_S), **connection.info.get_parameters()}
    settings = SETTINGS | {f"tcp_{name.removeprefix('tcp_')}": str(of_client[name]) for name in NOTICING}
    settings |= SINCE_17 if connection.info.server_version >= 170_000 else {}
    calls = [f"set_config('{name}', '{value}', {for_transaction})" for name, value in settings.items()]
    return f"SELECT {', '.join(calls)}"


def connect(engine: Engine) -> psycopg.Connection[Any]:
    """Open a connection and set it up for a drain. Behind a pooler of any kind, nothing is left in the session.

    Raises:
        TypeError: `engine` uses another driver than psycopg.
    """
    connection = open_connection(engine)
    return prepare_for_drain(connection, pooled=is_behind_pooler(connection))


def open_connection(engine: Engine) -> psycopg.Connection[Any]:
    """Open a connection outside the engine's pool. Closing it frees the rows that it holds.

    Raises:
        TypeError: `engine` uses another driver than psycopg.
    """
    from_pool = engine.raw_connection()
    connection = from_pool.driver_connection
    from_pool.detach()
    if not isinstance(connection, psycopg.Connection):
        raise TypeError(f"the drain needs psycopg, not {type(connection).__name__}; use postgresql+psycopg://")
    connection.autocommit = True
    return connection


def prepare_for_drain(connection: psycopg.Connection[Any], *, pooled: bool) -> psycopg.Connection[Any]:
    """Set up `connection`. pooled: its transactions run in sessions that others use, too, so leave nothing in them."""
    if pooled:
        # Never prepares, whatever execute() asks for. Drain recognises such a connection by this.
        connection.prepare_threshold = None
    else:
        connection.prepare_threshold = 5  # psycopg's default; the engine may have switched it off
        connection.execute(set_up(connection))
    return connection


def set_up_of_transaction(connection: psycopg.Connection[Any]) -> str | None:
    """Return what each transaction has to begin with; None for a connection that was set up for its session."""
    if connection.prepare_threshold is not None:
        return None
    return set_up(connection, for_transaction=True)


def session_of(connection: psycopg.Connection[Any]) -> int:
    """Return the process id of the session in which this query runs."""
    [(pid,)] = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchall()
    return int(pid)


def is_behind_pooler(connection: psycopg.Connection[Any]) -> bool:
    """Return True if a pooler opened the session for others, too: it gives its clients made-up process ids."""
    return session_of(connection) != connection.info.backend_pid
