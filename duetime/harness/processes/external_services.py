"""Temporary databases on the user's own database server and broker, removed after the run."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from duetime.errors import ServiceUnavailable
from duetime.urls import sqlalchemy_url

ANSWER_S = 5
"""How long a server may take to answer."""
IN_USE = "duetime:in-use"
"""The key that marks a broker database as used by a run."""


def database_version(url: str) -> str:
    """The version of the user's own PostgreSQL at `url`.

    Raises:
        ServiceUnavailable: no PostgreSQL answers there, or a pooler is on the way.
    """
    with user_connection(url) as connection:
        [(session,)] = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchall()
        # A pooler gives its clients made-up process ids.
        if session != connection.info.backend_pid:
            raise ServiceUnavailable(
                f"DUETIME_DATABASE_URL: {without_password(url)} leads through a connection pooler, which a run would "
                "measure instead of the designs; name PostgreSQL itself"
            )
        return str(connection.execute("SHOW server_version").fetchall()[0][0]).split()[0]


@contextmanager
def user_connection(url: str) -> Iterator[psycopg.Connection]:
    """A connection to the user's own PostgreSQL at `url`.

    Raises:
        ServiceUnavailable: no PostgreSQL answers there.
    """
    try:
        parsed = make_url(sqlalchemy_url(url)).set(drivername="postgresql")
        connection = psycopg.connect(
            parsed.render_as_string(hide_password=False), connect_timeout=ANSWER_S, autocommit=True
        )
    except Exception as error:
        raise ServiceUnavailable(
            f"DUETIME_DATABASE_URL: no PostgreSQL answers at {without_password(url)} ({first_line(error)}); "
            "correct it (user and password belong in the URL, because a run ignores PGUSER, PGPASSWORD and the like), "
            "or unset it to use the embedded one"
        ) from error
    with connection:
        # Of this role; CREATE DATABASE takes longer than some time limits.
        connection.execute("SET default_transaction_read_only = off; SET statement_timeout = 0; SET lock_timeout = 0")
        yield connection


NEUTRAL = {
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "client_encoding": "UTF8",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "search_path": '"$user", public',
    "synchronous_commit": "on",
}
"""PostgreSQL's defaults. A server or a role may have others, and a run is the same everywhere."""


@contextmanager
def own_database(url: str) -> Iterator[str]:
    """Create a database on the user's server and drop it afterwards; yield its URL.

    It has the encoding UTF-8 and PostgreSQL's default settings, whatever those of the server and of the role are.

    Raises:
        ServiceUnavailable: it cannot be created.
    """
    name = f"duetime_{uuid.uuid4().hex[:12]}"
    created = False
    try:
        with user_connection(url) as connection:
            # template0: only a copy of it may have another encoding than the server's default.
            create = "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            connection.execute(sql.SQL(create).format(sql.Identifier(name)))
            created = True
            for setting, value in NEUTRAL.items():
                # Of the role in this database, because these come before all others.
                alter = sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} SET {} = {}")
                # A list of schemas has quotes of its own.
                quoted = sql.SQL(value) if setting == "search_path" else sql.Literal(value)
                connection.execute(alter.format(sql.Identifier(name), sql.Identifier(setting), quoted))
    except psycopg.Error as error:
        if created:
            _drop(url, name)
        raise ServiceUnavailable(
            f"DUETIME_DATABASE_URL: cannot create a database of its own at {without_password(url)} "
            f"({first_line(error)}); name a role with CREATEDB"
        ) from error
    try:
        yield make_url(sqlalchemy_url(url)).set(database=name).render_as_string(hide_password=False)
    finally:
        _drop(url, name)


def _drop(url: str, name: str) -> None:
    with user_connection(url) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def broker_version(url: str) -> str:
    """The version of the user's own Valkey or Redis at `url`."""
    import redis  # here, because `duetime install` needs only the database

    try:
        with redis.Redis.from_url(url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S) as broker:
            info = broker.info("server")
    except (redis.RedisError, ValueError) as error:
        raise ServiceUnavailable(
            f"DUETIME_BROKER_URL: no Valkey or Redis answers at {without_password(url)} ({first_line(error)}); "
            "correct it, or unset it to use the embedded one"
        ) from error
    return str(info.get("valkey_version", info["redis_version"]))


@contextmanager
def own_broker_database(url: str, slot: int) -> Iterator[str]:
    """Reserve an empty numbered database, the `slot`-th from the one in `url`, and empty it afterwards; yield its URL.

    Raises:
        ServiceUnavailable: there is no such database or it is not empty.
    """
    import redis

    try:
        base = make_url(url)
        number = int(base.database or 0) + slot
        own_url = base.set(database=str(number)).render_as_string(hide_password=False)
        broker = redis.Redis.from_url(own_url, socket_timeout=ANSWER_S)
        # NX: if two commands find the same database empty, one of them gets it.
        reserved = broker.set(IN_USE, "1", nx=True)
        if reserved and broker.dbsize() > 1:
            broker.delete(IN_USE)
            reserved = None
    except (redis.RedisError, ValueError) as error:
        raise ServiceUnavailable(
            f"DUETIME_BROKER_URL: cannot use a database numbered from {without_password(url)} on "
            f"({first_line(error)}); end the URL with /0, or a number from which enough databases exist"
        ) from error
    if not reserved:
        raise ServiceUnavailable(
            f"DUETIME_BROKER_URL: database {number} of {without_password(url)} is not empty; give a number from which "
            "enough databases are empty, or, if only a duetime that was killed has used it, empty it "
            f"(valkey-cli -n {number} FLUSHDB)"
        )
    with broker:
        try:
            yield own_url
        finally:
            broker.flushdb()


def without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except Exception:  # noqa: BLE001 - a URL that cannot be parsed is shown as it is
        return repr(url)


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
