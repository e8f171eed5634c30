"""Create the tables of Django Q2 with Django's own migrations; safe to repeat."""

import os

import psycopg
from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

with psycopg.connect(os.environ["DUETIME_DATABASE_DSN"]) as connection:
    # Two installations at the same time would both find no table.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('django_q2'))")
    execute_from_command_line(["django-admin", "migrate", "--verbosity", "0"])
    # Of duetime, not of Django Q2: the schedule of a key is searched before each change.
    connection.execute("CREATE INDEX IF NOT EXISTS django_q_schedule_name ON django_q_schedule (name)")
