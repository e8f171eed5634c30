"""Django's backend for PostgreSQL over a connection that was opened elsewhere, by SQLAlchemy.

Django's own cursors read timestamps as connections opened by Django do; these read them as psycopg does.
"""

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    def create_cursor(self, _name=None):
        return base.Cursor(self.connection)
