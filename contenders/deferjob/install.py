"""Create deferjob's table."""

import os

import psycopg
from deferjob import Defer

with psycopg.connect(os.environ["DUETIME_DATABASE_DSN"]) as connection:
    # Two installations at the same time could both find no table.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('deferjob'))")
    Defer().install(conn=connection)
