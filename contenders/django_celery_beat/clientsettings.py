"""The Django project of the application's clients, whose connection is that of SQLAlchemy."""

from djangosettings import *  # noqa: F403

DATABASES["default"]["ENGINE"] = "callers"  # noqa: F405
