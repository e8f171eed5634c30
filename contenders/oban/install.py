"""Create Oban's tables, once."""

import os

import psycopg
from oban.schema import install_sql

with psycopg.connect(os.environ["DUETIME_DATABASE_DSN"]) as connection:
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('oban'))")
    if connection.execute("SELECT to_regclass('oban_jobs')").fetchone() == (None,):
        connection.execute(install_sql())
    # Of duetime, not of Oban: its own unique jobs are part of Oban Pro, so older jobs of a key are searched.
    # CREATE INDEX IF NOT EXISTS would wait for every transaction that writes jobs, and stop later ones meanwhile.
    if connection.execute("SELECT to_regclass('oban_jobs_key')").fetchone() == (None,):
        connection.execute("CREATE INDEX oban_jobs_key ON oban_jobs ((args->>'key'))")
