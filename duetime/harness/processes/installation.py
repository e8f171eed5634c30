"""Making ready a database of the user's own: the application's tables and those of designs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg import errors, sql
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.pool import NullPool

from duetime.app.tables import Base
from duetime.errors import ServiceUnavailable
from duetime.harness.processes.external_services import ANSWER_S, first_line, without_password
from duetime.interface import Design
from duetime.settings import sqlalchemy_url

MAINTENANCE = "postgres"
"""The database from which others are made: there is one on every server that nobody removed it from."""
LOCK = 0x6475657469
"""An advisory lock's number, "dueti": CREATE TABLE IF NOT EXISTS alone fails now and then when two run it at once."""


def install(url: str, designs: Sequence[Design]) -> bool:
    """Create in the database at `url` what is missing there, the database included; whether that was missing.

    Raises:
        ServiceUnavailable: no PostgreSQL answers there, or the role may not create what is missing.
    """
    try:
        target = make_url(sqlalchemy_url(url))
        created = _create_database(target)
        with _alone(target):
            engine = create_engine(target, poolclass=NullPool)
            Base.metadata.create_all(engine)
            for design in designs:
                design.install(engine)
    except Exception as error:
        raise ServiceUnavailable(
            f"DUETIME_DATABASE_URL: cannot create what is missing at {without_password(url)} ({first_line(error)}); "
            "correct it, or name a role that may"
        ) from error
    return created


def _create_database(target: URL) -> bool:
    try:
        _connect(target).close()
    except psycopg.OperationalError as error:
        # PostgreSQL's own refusal carries no code while a connection is being opened: ask, rather than read its words.
        if not _is_missing(target):
            raise error from None
    else:
        return False
    # Unless another has just made it.
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
def _alone(target: URL) -> Iterator[None]:
    """While this is open no other ``install`` works in the same database."""
    with _connect(target) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        yield


def _connect(url: URL) -> psycopg.Connection:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, connect_timeout=ANSWER_S, autocommit=True)
