"""Rows of the user's own queries, in a transaction that can only read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from duetime.audit.columns import Wanted
from duetime.audit.sources import Row, Source
from duetime.errors import BadUsage
from duetime.urls import sqlalchemy_url

BATCH_ROWS: Final = 10_000
"""The rows that the server sends at a time."""
REPLAYED: Final = "SELECT pg_is_in_recovery(), extract(epoch FROM pg_last_xact_replay_timestamp())"


class Database:
    """One PostgreSQL database; both queries on it see the same snapshot.

    The transaction is READ ONLY, so the server refuses a statement that writes.
    """

    def __init__(self, url: str, *, statement_timeout_ms: int, end_known: bool = False) -> None:
        """Connect to `url`. end_known: True if nothing depends on how new a replica is.

        Raises:
            BadUsage: the server cannot be used, or is a replica and does not say how new it is.
        """
        self._stack = ExitStack()
        try:
            connection = psycopg.connect(
                sqlalchemy_url(url, variable="--database").replace("+psycopg", "", 1),
                application_name="duetime audit",
                connect_timeout=15,
            )
        except (psycopg.Error, UnicodeError) as error:
            raise BadUsage(f"--database: {_first_line(error)}") from error
        self._connection = self._stack.enter_context(connection)
        self._stack.callback(connection.rollback)
        # A server of another kind may not know some of this, and says so.
        try:
            # Before the snapshot, which then has all that was replayed by then.
            connection.autocommit = True
            [is_replica, replayed_at] = connection.execute(REPLAYED).fetchone() or (False, None)
            connection.autocommit = False
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute(
                sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(f"{statement_timeout_ms}ms"))
            )
            connection.execute("SET LOCAL TimeZone = 'UTC'")
            [seen_at] = connection.execute("SELECT extract(epoch FROM now())").fetchone() or (0,)
        except psycopg.Error as error:
            self.close()
            raise BadUsage(f"--database: {_first_line(error)}") from error
        if is_replica and replayed_at is None and not end_known:
            self.close()
            raise BadUsage(
                "--database: a replica that has replayed no transaction since it was started does not show how new its "
                "data is; say with --to until when every delivery is in it"
            )
        if is_replica and replayed_at is not None:
            seen_at = min(seen_at, replayed_at)
        self._seen_ns = int(seen_at * 10**9)

    def close(self) -> None:
        # The server ends the transaction of a lost connection, and the error of the query says more.
        with suppress(psycopg.Error):
            self._stack.close()

    def query(self, query: str, wanted: Wanted) -> Source:
        """Run `query` with a cursor of the server, which sends rows as they are read.

        Raises:
            BadUsage: the server refuses it, or a column is missing.
        """
        cursor = self._stack.enter_context(self._connection.cursor(f"duetime_{wanted.what}", row_factory=tuple_row))
        cursor.itersize = BATCH_ROWS
        text = query.strip().rstrip(";").encode()
        try:
            cursor.execute(text)
        except psycopg.Error as error:
            raise BadUsage(f"--{wanted.what}: {_first_line(error)}") from error
        names = [column.name for column in cursor.description or ()]
        columns = wanted.resolve(names, f"the query --{wanted.what}")
        at = [names.index(columns[one.name]) if one.name in columns else -1 for one in wanted.fields]
        return Source(f"{wanted.what} row", columns, _rows(cursor, at, wanted.what), self._seen_ns)


def _rows(cursor: psycopg.ServerCursor[Any], at: Sequence[int], what: str) -> Iterator[Row]:
    try:
        for number, values in enumerate(cursor, start=1):
            yield number, [values[index] if index >= 0 else None for index in at]
    except psycopg.Error as error:
        raise BadUsage(f"--{what}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Return the first line of what the server said; the lines after it may quote data."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
