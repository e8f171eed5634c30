"""The scheduler as a service: APScheduler's example of an RPC server, with a job store and the two calls of duetime.

Its port is written to the database, where the clients read it: several runs share a machine.
"""

import hashlib
import logging
import signal
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime

import rpyc
import sqlalchemy
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from rpyc.utils.server import ThreadedServer

URL = "postgresql+psycopg://"  # libpq's variables name the database


class SchedulerService(rpyc.Service):
    def __init__(self, scheduler):
        self._scheduler = scheduler
        self._one_call = threading.Lock()

    def exposed_schedule(self, key, revision, due_at):
        """Add the job of `key`, or replace it if its revision is older."""
        run_date = max(datetime.fromisoformat(due_at), datetime.now(UTC))
        with self._one_call:
            if self._revision(key) < revision:
                self._scheduler.add_job(
                    "jobs:deliver",
                    "date",
                    run_date=run_date,
                    args=(key, revision),
                    id=job_id(key),
                    replace_existing=True,
                )

    def exposed_cancel(self, key, revision):
        with self._one_call:
            if 0 < self._revision(key) < revision:
                with suppress(JobLookupError):  # it has become due meanwhile
                    self._scheduler.remove_job(job_id(key))

    def _revision(self, key):
        job = self._scheduler.get_job(job_id(key))
        return job.args[1] if job else 0


def job_id(key):
    """The id of a key's job: the column has 191 characters, a key up to 200."""
    return hashlib.sha256(key.encode()).hexdigest()


def serve(scheduler):
    logging.basicConfig(level=logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    scheduler.start()
    server = ThreadedServer(SchedulerService(scheduler), hostname="127.0.0.1")
    with sqlalchemy.create_engine(URL).begin() as connection:
        connection.execute(sqlalchemy.text("DELETE FROM apscheduler_server"))
        connection.execute(sqlalchemy.text("INSERT INTO apscheduler_server VALUES (:port)"), {"port": server.port})
    try:
        server.start()
    finally:
        scheduler.shutdown()  # after the jobs that run


if __name__ == "__main__":
    serve(BackgroundScheduler(jobstores={"default": SQLAlchemyJobStore(url=URL)}))
