"""What administrators and other programs do to a database that goes on running: sessions, locks, rewritten tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg

from duetime.faults.fault import FaultNotVerified, Sleeper, wait_for

TABLES = """
    SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND {which} ORDER BY nspname, relname
"""
WHOLE = TABLES.format(which="relkind IN ('r', 'p') AND NOT relispartition")
WITH_FILES = TABLES.format(which="relkind = 'r'")
OTHER_SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database() "
    "AND pid <> ALL(%s)"
)
TERMINATE_OTHERS = (
    f"WITH others AS MATERIALIZED ({OTHER_SESSIONS}) "  # noqa: S608 - a constant
    "SELECT pid FROM others WHERE pg_terminate_backend(pid)"
)
"""Materialized, or PostgreSQL may call the function before it looks at the condition."""
REWRITES = (
    "ALTER TABLE {table} ADD COLUMN duetime_added int DEFAULT 1",
    "VACUUM (FULL, ANALYZE) {table}",
    "REINDEX TABLE CONCURRENTLY {table}",
    "ALTER TABLE {table} DROP COLUMN duetime_added",
)
WITHIN_S = 15.0
TAKEN_WITHIN_S = 5.0


class _OnDatabase:
    """A fault that one session of an administrator carries out.

    url: of the database, for libpq.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._resources = ExitStack()

    def _connect(self) -> psycopg.Connection[Any]:
        return self._resources.enter_context(psycopg.connect(self._url, autocommit=True))

    def heal(self) -> None:
        self._resources.close()

    def verify_healed(self, stop: Sleeper) -> str:
        wait_for(self._answers, stop, within_s=WITHIN_S, message="the database did not answer")
        return "a new session was served"

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self._url, autocommit=True) as probe:
                probe.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


class SessionsTerminated(_OnDatabase):
    """``pg_terminate_backend`` of every session but the one that calls it."""

    def prepare(self, stop: Sleeper) -> str:
        self._pids: Sequence[int] = []
        # After a fault of the database, workers may still be about to connect.
        wait_for(self._is_used, stop, within_s=WITHIN_S, message="no session was open")
        return "every session of the database is terminated"

    def _is_used(self) -> bool:
        with psycopg.connect(self._url, autocommit=True) as probe:
            return bool(probe.execute(OTHER_SESSIONS, [[probe.info.backend_pid]]).fetchall())

    def inject(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as admin:
            self._pids = terminate_others(admin)

    def verify_injected(self, stop: Sleeper) -> str:
        if not self._pids:
            raise FaultNotVerified("no session was open")
        wait_for(lambda: not self._left(), stop, within_s=5, message="a session did not end")
        return f"{len(self._pids)} sessions have ended"

    def _left(self) -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
        with psycopg.connect(self._url, autocommit=True) as probe:
            row = probe.execute(query, [list(self._pids)]).fetchone()
        return int(row[0]) if row else 0


class TablesLocked(_OnDatabase):
    """ACCESS EXCLUSIVE on every table, as a migration that waits for something else holds it."""

    def prepare(self, _stop: Sleeper) -> str:
        self._admin: psycopg.Connection[Any] | None = None
        return "every table is locked in the mode ACCESS EXCLUSIVE"

    def inject(self) -> None:
        self._admin = self._connect()
        tables = ", ".join(name for (name,) in self._admin.execute(WHOLE))
        give_up_at = time.monotonic() + TAKEN_WITHIN_S
        while time.monotonic() < give_up_at:
            self._admin.execute("BEGIN")
            try:
                self._admin.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
            except psycopg.errors.DeadlockDetected:  # with a transaction that uses two tables in another order
                self._admin.execute("ROLLBACK")
            else:
                return

    def verify_injected(self, stop: Sleeper) -> str:
        wait_for(self._somebody_waits, stop, within_s=5, message="nobody waited for a table")
        return "every table is locked, and a session waits for one"

    def _somebody_waits(self) -> bool:
        if self._admin is None:
            return False
        row = self._admin.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
        ).fetchone()
        return bool(row and row[0])


class TablesRewritten(_OnDatabase):
    """What maintenance does to each table under load: ADD COLUMN, VACUUM FULL, REINDEX CONCURRENTLY, DROP COLUMN."""

    def prepare(self, _stop: Sleeper) -> str:
        self._done: Future[int] | None = None
        return "a column is added to each table, the table and its indexes are rewritten, and the column is dropped"

    def inject(self) -> None:
        admin = self._connect()
        pool = self._resources.enter_context(ThreadPoolExecutor(1))
        self._done = pool.submit(self._rewrite, admin)

    def _rewrite(self, admin: psycopg.Connection[Any]) -> int:
        before = self._files(admin)
        for (table,) in admin.execute(WHOLE).fetchall():
            for statement in REWRITES:
                admin.execute(statement.format(table=table))
        after = self._files(admin)
        return sum(after[table] != file for table, file in before.items())

    def _files(self, admin: psycopg.Connection[Any]) -> dict[str, int]:
        tables = [name for (name,) in admin.execute(WITH_FILES)]
        found = admin.execute(
            "SELECT name, pg_relation_filenode(name::regclass) FROM unnest(%s::text[]) AS name", [tables]
        )
        return dict(found.fetchall())

    def verify_injected(self, stop: Sleeper) -> str:
        wait_for(self._is_done, stop, within_s=WITHIN_S, message="the tables were not rewritten")
        rewritten = self._done.result() if self._done else 0
        if not rewritten:
            raise FaultNotVerified("no table has a new file")
        return f"{rewritten} tables were rewritten, and their indexes built again"

    def _is_done(self) -> bool:
        return self._done is not None and self._done.done()


class ConnectionsUsedUp(_OnDatabase):
    """Another program takes every connection that the database allows, after those of all others have ended."""

    def prepare(self, _stop: Sleeper) -> str:
        self._taken: list[psycopg.Connection[Any]] = []
        return "another program takes all connections that the database allows"

    def inject(self) -> None:
        admin = self._connect()
        give_up_at = time.monotonic() + TAKEN_WITHIN_S
        # Those that are terminated connect again at once, so this is a race that is run until it is won.
        while time.monotonic() < give_up_at:
            self._take_all()
            if not terminate_others(admin, *self._taken):
                return

    def _take_all(self) -> None:
        while True:
            try:
                self._taken.append(self._connect())
            except psycopg.OperationalError:
                return

    def verify_injected(self, stop: Sleeper) -> str:
        wait_for(self._refused, stop, within_s=2, message="a further connection was not refused")
        return f"{len(self._taken)} connections are taken, and a further one is refused"

    def _refused(self) -> bool:
        try:
            psycopg.connect(self._url).close()
        except psycopg.OperationalError as error:
            return "too many clients" in str(error) or "remaining connection slots" in str(error)
        return False


def terminate_others(admin: psycopg.Connection[Any], *but: psycopg.Connection[Any]) -> Sequence[int]:
    """Terminate all sessions but these; return the process ids of those that ended."""
    pids = [connection.info.backend_pid for connection in (admin, *but)]
    return [pid for (pid,) in admin.execute(TERMINATE_OTHERS, [pids])]


class SettingsChanged(_OnDatabase):
    """A setting of the server is changed and reloaded: every transaction is serializable unless it says otherwise."""

    def prepare(self, _stop: Sleeper) -> str:
        return "the server's settings are changed and reloaded: default_transaction_isolation = serializable"

    def inject(self) -> None:
        self._alter("SET default_transaction_isolation = serializable")

    def verify_injected(self, stop: Sleeper) -> str:
        wait_for(
            lambda: self._isolation() == "serializable", stop, within_s=5, message="no session had the new setting"
        )
        return "a new session is serializable"

    def heal(self) -> None:
        self._alter("RESET default_transaction_isolation")

    def verify_healed(self, stop: Sleeper) -> str:
        wait_for(
            lambda: self._isolation() != "serializable", stop, within_s=5, message="the setting was still in force"
        )
        return "a new session is not serializable"

    def _alter(self, change: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as admin:
            admin.execute(f"ALTER SYSTEM {change}")
            admin.execute("SELECT pg_reload_conf()")

    def _isolation(self) -> str:
        with psycopg.connect(self._url, autocommit=True) as probe:
            row = probe.execute("SHOW default_transaction_isolation").fetchone()
        return str(row[0]) if row else ""
