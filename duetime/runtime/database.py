"""The engine for the application's database, whatever settings that database or its role has."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from duetime.settings import Settings

READABLE = "SELECT set_config('DateStyle', 'ISO, MDY', true), set_config('TimeZone', 'UTC', true)"
"""psycopg reads times in ISO style only, and knows no year after 9999, which a time zone can reach. Local to the
transaction: through a pooler, others use the same session."""
UTF8 = {"client_encoding": "utf8"}
"""A ``connect_args``: psycopg returns text of a database in SQL_ASCII as bytes, unless the client names an encoding."""


def application_engine(settings: Settings, **options: Any) -> Engine:
    """Return an engine for `settings.database_url` that can read it. options: those of ``create_engine``."""
    engine = create_engine(settings.database_url, connect_args={**settings.driver_options, **UTF8}, **options)
    event.listen(engine, "begin", _make_readable)
    return engine


def _make_readable(connection: Connection) -> None:
    connection.exec_driver_sql(READABLE)
