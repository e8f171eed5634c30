"""What the drain does about an error of the database, and how it calls it."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from sqlalchemy.exc import DBAPIError

from duetime.shell_command import shell_command

INSTALL = shell_command("install", "push_readmodel")
NO_CONNECTION = "no connection to the database"
READ_ONLY = "the database is read-only: a standby, or default_transaction_read_only is on"
ROLLED_BACK = "PostgreSQL rolled back the transaction of a batch, whose deliveries will be repeated"
TIME_LIMIT = (
    "a time limit ended a statement or a session, and the deliveries of its batch will be repeated; check "
    "statement_timeout and lock_timeout of this role"
)
OUT_OF_RESOURCES = "PostgreSQL has no disk space, memory or connection left"
CHANGED_TABLE = "the table was changed, so its statements are planned again"
MIXED_SESSIONS = (
    "the connection does not remember its prepared statements: a connection pooler mixes sessions; set "
    "DUETIME_DIRECT_DATABASE_URL to PostgreSQL itself"
)
SERVER_FAILED = "PostgreSQL reports a failure of its own"

# https://www.postgresql.org/docs/current/errcodes-appendix.html; the longest prefix counts.
RETRIED = {
    "08": NO_CONNECTION,
    "25006": READ_ONLY,
    "25P03": TIME_LIMIT,
    "25P04": TIME_LIMIT,
    "26": MIXED_SESSIONS,
    "28": NO_CONNECTION,
    "3D": NO_CONNECTION,
    "40": ROLLED_BACK,
    "42P05": MIXED_SESSIONS,
    "53": OUT_OF_RESOURCES,
    "55P03": TIME_LIMIT,
    "55P04": NO_CONNECTION,
    "57": NO_CONNECTION,
    "57014": TIME_LIMIT,
    "57P05": TIME_LIMIT,
    "58": SERVER_FAILED,
    "XX": SERVER_FAILED,
    "cached plan": CHANGED_TABLE,
}
"""SQLSTATE, or the start of one: what happened. The loop connects again and tries again."""

ENDING = {
    "0A": "PostgreSQL does not support what the drain needs",
    "22": "a value cannot be read from pending_notifications, or written to it",
    "23": "a constraint prevents a change of pending_notifications",
    "42": f"pending_notifications is not the table that `{INSTALL}` creates",
    "42501": "this role lacks a privilege on pending_notifications; GRANT SELECT, UPDATE, DELETE on it",
    "42P01": f"pending_notifications is missing; create it with `{INSTALL}`",
}
"""The same for errors that stay until a person changes something. The worker ends with status 70."""


def retried(error: Exception) -> str | None:
    """Return what happened if a new connection may succeed; None if the worker must end instead.

    A missing table, a missing privilege or a wrong type stays as it is until a person changes it. A worker that kept
    trying would look healthy.
    """
    return _described(error, RETRIED)


def ending(error: BaseException) -> str | None:
    """Return why the worker must end, in words; None for an error that is not the database's."""
    return _described(error, ENDING)


def _described(error: BaseException, table: Mapping[str, str]) -> str | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return None
    state = cause.sqlstate
    if state is None:
        # psycopg has no SQLSTATE for a connection that could not be opened, or that broke.
        lost = isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
        return table.get("08") if lost else None
    if state == "0A000" and "cached plan" in str(cause):
        state = "cached plan"
    return next((table[prefix] for n in (len(state), 2) if (prefix := state[:n]) in table), None)
