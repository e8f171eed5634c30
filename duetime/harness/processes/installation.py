"""Prepares a database of the user's: the application's tables and those of designs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg import errors, sql
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.pool import NullPool

from duetime.app.tables import Base
from duetime.errors import BadUsage, ServiceUnavailable
from duetime.harness.processes.external_services import ANSWER_S, first_line, without_password
from duetime.interface import Design
from duetime.settings import driver_options
from duetime.urls import sqlalchemy_url

MAINTENANCE = "postgres"
"""The database to connect to for CREATE DATABASE; every server has one unless it was dropped."""
LOCK = 0x6475657469
"""The number of an advisory lock, "dueti". Two concurrent CREATE TABLE IF NOT EXISTS of one table can fail."""


def install(url: str, designs: Sequence[Design], *, partitions: int | None = None) -> bool:
    """Create what is missing in the database at `url`. Returns True if the database itself was missing.

    partitions: of the tables of designs that offer `install_partitioned`.

    Raises:
        BadUsage: the tables exist with another number of partitions.
        ServiceUnavailable: no PostgreSQL answers there, or the role may not create what is missing.
    """
    target = make_url(sqlalchemy_url(url))
    try:
        created = _create_database(target)
        with _locked(target):
            engine = create_engine(target, poolclass=NullPool, connect_args=driver_options(str(target)))
            Base.metadata.create_all(engine)
            for design in designs:
                if partitions and design.install_partitioned:
                    design.install_partitioned(engine, partitions)
                else:
                    design.install(engine)
    except BadUsage:
        raise
    except Exception as error:
        raise ServiceUnavailable(
            f"DUETIME_DATABASE_URL: cannot create what is missing at {without_password(url)} ({first_line(error)}); "
            "correct it, or name a role that may"
        ) from error
    return created


def _create_database(target: URL) -> bool:
    """Create the database unless it exists. Returns True if it was missing."""
    try:
        _connect(target).close()
    except psycopg.OperationalError as error:
        # psycopg gives no SQLSTATE for a refused connection, so a query decides whether the database is missing.
        if not _is_missing(target):
            raise error from None
    else:
        return False
    # Another process may create it at the same time.
    with (
        _connect(target.set(database=MAINTENANCE)) as server,
        suppress(errors.DuplicateDatabase, errors.UniqueViolation),
    ):
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(target.database or "")))
    return True


def _is_missing(target: URL) -> bool:
    with _connect(target.set(database=MAINTENANCE)) as server:
        found = server.execute("SELECT FROM pg_database WHERE datname = %s", [target.database]).fetchone()
    return found is None


@contextmanager
def _locked(target: URL) -> Iterator[None]:
    """Hold the lock that serialises `install` in one database.

    A lock of the transaction, not of the session: a transaction pooler would keep the session, and so the lock.
    """
    with _connect(target) as connection, connection.transaction():
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        yield


def _connect(url: URL) -> psycopg.Connection:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, connect_timeout=ANSWER_S, autocommit=True)
