"""Create django-celery-beat's tables: ``python manage.py migrate``."""

import os

import django
import psycopg
from django.core.management import call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "djangosettings"
os.environ.setdefault("REDIS_URL", "")
django.setup()
with psycopg.connect(os.environ["DUETIME_DATABASE_DSN"]) as connection:
    # Two migrations at the same time would both create the tables.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('django_celery_beat'))")
    call_command("migrate", verbosity=0)
