"""Django's settings, with the ORM as the broker and otherwise the defaults of Django Q2."""

import os

SECRET_KEY = "signs the tasks of duetime"
INSTALLED_APPS = ["django_q"]
USE_TZ = True
# libpq's variables name the server and the user.
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"]}}

Q_CLUSTER = {"name": "duetime", "orm": "default"}
