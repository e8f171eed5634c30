"""Create APScheduler's table, as its scheduler does when it starts, and duetime's with the port of the server."""

import sqlalchemy
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from server import URL

store = SQLAlchemyJobStore(url=URL)
with store.engine.begin() as connection:
    # Two installations at the same time would both find no table.
    connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(hashtext('apscheduler'))"))
    store.jobs_t.create(connection, checkfirst=True)
    connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS apscheduler_server (port integer)"))
