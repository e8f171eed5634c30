"""Create Absurd's schema and its queue, once, as ``absurdctl init`` and ``absurdctl create-queue`` do with psql."""

import os

import psycopg
from absurd_sdk import Absurd
from absurdctl import BUNDLED_SCHEMA_SQL

with psycopg.connect(os.environ["DUETIME_DATABASE_DSN"]) as connection:
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('absurd'))")
    if connection.execute("SELECT to_regnamespace('absurd')").fetchone() == (None,):
        connection.execute(BUNDLED_SCHEMA_SQL)
        Absurd(connection).create_queue()
    # Of duetime, not of Absurd: it finds a task by its id, so older tasks of a key are searched.
    connection.execute("CREATE INDEX IF NOT EXISTS t_default_key ON absurd.t_default ((params->>'key'))")
