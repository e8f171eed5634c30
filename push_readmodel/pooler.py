"""Finds out whether a connection has a session of its own, or a pooler lends it one for each transaction.

In a lent session LISTEN, an advisory lock, a setting or a prepared statement would meet other clients, and no NOTIFY
arrives. pgbouncer in transaction mode is such a pooler; in session mode it is not.
"""

from __future__ import annotations

import random
import secrets
from typing import Any

import psycopg

from duetime.errors import BadUsage
from push_readmodel.connection import is_behind_pooler, session_of

TRIES = 20
ARRIVES_WITHIN_S = 3.0
"""How long a NOTIFY may take before it counts as lost. On a direct connection it takes about a millisecond, so only a
pooler that the queries did not show costs this wait."""
REMEDY = "set DUETIME_DIRECT_DATABASE_URL to the same database without the pooler"
POOLED = f"checks once a second because a transaction pooler drops every NOTIFY; {REMEDY}"


def is_pooled(listening: psycopg.Connection[Any], other: psycopg.Connection[Any]) -> bool:
    """Return True if a pooler lends sessions to these two connections, or if a NOTIFY does not get through."""
    if session_is_lent(listening, other):
        return True
    # Only now, because a LISTEN would stay in a lent session. From a second connection, because a session receives its
    # own NOTIFY in any case.
    return not _receives(listening, other)


def session_is_lent(first: psycopg.Connection[Any], second: psycopg.Connection[Any]) -> bool:
    """Return True if two open connections use one session, or if one connection uses two. Leaves nothing behind."""
    if not is_behind_pooler(first) and session_of(first) != session_of(second):
        return False
    sessions = {session_of(first)}
    for _ in range(TRIES):
        # A random number of queries: a pooler with two sessions that takes turns could give each connection its own.
        sessions.update(session_of(first) for _ in range(random.randint(1, 2)))
        if len(sessions) > 1 or session_of(second) in sessions:
            return True
    return False


def check_same_database(direct: psycopg.Connection[Any], application: psycopg.Connection[Any]) -> None:
    """Check that both connections lead to the same database, on the same server or its standby.

    Raises:
        BadUsage: they do not.
    """
    query = "SELECT system_identifier, oid FROM pg_control_system(), pg_database WHERE datname = current_database()"
    try:
        databases = [connection.execute(query, prepare=False).fetchall() for connection in (direct, application)]
    except psycopg.errors.InsufficientPrivilege:
        return  # a hosted server may withhold pg_control_system()
    if databases[0] != databases[1]:
        raise BadUsage(
            "DUETIME_DIRECT_DATABASE_URL names another database than DUETIME_DATABASE_URL: notifications would be "
            "scheduled in one and awaited in the other; name the same database in both"
        )


def refuse_statement_pooling(error: Exception) -> None:
    """Raise an error that ends the worker if `error` says that the pooler lends a session for one statement only.

    Raises:
        BadUsage: it does.
    """
    if "statement pooling" in str(error):
        raise BadUsage(
            "DUETIME_DATABASE_URL leads through a pooler in statement mode, which allows no transactions, and a drain "
            f"needs them; {REMEDY}, or use another pool mode"
        ) from error


def _receives(listening: psycopg.Connection[Any], other: psycopg.Connection[Any]) -> bool:
    channel = f"duetime_{secrets.token_hex(8)}"
    listening.execute(f"LISTEN {channel}")
    other.execute(f"NOTIFY {channel}")
    received = [*listening.notifies(timeout=ARRIVES_WITHIN_S, stop_after=1)]
    listening.execute(f"UNLISTEN {channel}")
    return bool(received)
