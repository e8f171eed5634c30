"""Create DBOS's tables, as ``dbos migrate`` does; safe to repeat."""

import os

from dbos import run_dbos_database_migrations

run_dbos_database_migrations(system_database_url=os.environ["DUETIME_DATABASE_DSN"])
