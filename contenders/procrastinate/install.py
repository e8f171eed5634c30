"""Create procrastinate's tables, once: its schema cannot be applied twice."""

import os

import psycopg
from procrastinate.schema import SchemaManager

with psycopg.connect(os.environ["DUETIME_DATABASE_DSN"]) as connection:
    # Two installations at the same time would both find no table.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('procrastinate'))")
    if connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone() == (None,):
        connection.execute(SchemaManager.get_schema())
    # Of duetime, not of Procrastinate: the jobs of a key that are being executed are searched before a cancel.
    connection.execute(
        "CREATE INDEX IF NOT EXISTS procrastinate_jobs_doing_key ON procrastinate_jobs (queueing_lock) "
        "WHERE status = 'doing'"
    )
