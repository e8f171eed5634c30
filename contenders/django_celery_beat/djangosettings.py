"""The Django project of the workers and of beat: ``celery -A celeryapp worker`` and ``celery -A celeryapp beat``."""

import os

INSTALLED_APPS = ["django_celery_beat"]
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",  # libpq's variables name the server
        "NAME": os.environ["PGDATABASE"],
    }
}
CELERY_BROKER_URL = os.environ["REDIS_URL"]
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
