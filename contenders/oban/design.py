"""Oban for Python behind ``schedule()``: a job in the caller's transaction, older jobs of the key cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.asynchronous import run_to_end
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

UNFINISHED = text(
    "SELECT id, CAST(args->>'revision' AS integer) AS revision, state FROM oban_jobs WHERE args->>'key' = :key "
    "AND state IN ('scheduled', 'available', 'executing', 'retryable', 'suspended')"
)
PENDING = text(
    "SELECT args->>'key' AS key, args->>'revision' AS revision, state, attempt FROM oban_jobs "
    "WHERE state NOT IN ('completed', 'cancelled')"
)
HERE = contender(__file__)


class ConnectionOfSession:
    """The caller's synchronous connection as what Oban accepts: "any object with a compatible execute() method"."""

    def __init__(self, session: Session) -> None:
        self._connection: Any = session.connection().connection.driver_connection

    async def execute(self, statement: Any, arguments: Any = None) -> Any:
        return Rows(self._connection.execute(statement, arguments))


class Rows:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.rowcount = cursor.rowcount

    async def fetchone(self) -> Any:
        return self._cursor.fetchone()

    async def fetchall(self) -> Any:
        return self._cursor.fetchall()


class Oban(Scheduler):
    """Enqueues with ``scheduled_at`` and ``conn=``, which takes part in the caller's transaction."""

    def __init__(self) -> None:
        import oban
        from jobs import Deliver  # type: ignore[import-not-found]  # in this folder
        from oban._query import Query
        from psycopg_pool import AsyncConnectionPool

        # Its pool is never opened: every statement goes through the caller's connection.
        self._oban = oban.Oban(pool=AsyncConnectionPool("", open=False))
        self._worker = Deliver
        # cancel_many_jobs() takes no connection, so its statement is executed in the caller's transaction.
        self._cancel_many = Query._load_file("cancel_many_jobs.sql", "public")  # noqa: SLF001

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Cancel the older jobs of the key, and enqueue one, unless this revision or a newer one waits."""
        if self._cancel(session, notification.key, notification.revision):
            return
        arguments = {"key": notification.key, "revision": notification.revision}
        job = self._worker.new(arguments, scheduled_at=notification.due_at)
        run_to_end(self._oban.enqueue(job, conn=ConnectionOfSession(session)))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Cancel the older jobs of the key; one that a worker has begun runs to its end."""
        self._cancel(session, key, revision)

    def _cancel(self, session: Session, key: str, revision: int) -> bool:
        jobs = session.execute(UNFINISHED, {"key": key}).all()
        if older := [job.id for job in jobs if job.revision < revision]:
            connection: Any = session.connection().connection.driver_connection
            connection.execute(self._cancel_many, {"ids": older})
        return any(job.revision >= revision for job in jobs)


def pending(_settings: Settings, engine: Engine) -> Sequence[Pending]:
    """Return the jobs that are neither completed nor cancelled."""
    with engine.connect() as connection:
        return [
            Pending(f"{job.key}/{job.revision}", f"oban_jobs, {job.state}, attempt {job.attempt}")
            for job in connection.execute(PENDING)
        ]


def role(*options: str) -> Role:
    return Role(
        name="worker",
        argv=("{python}", "-m", "oban", "start", "--cron-modules", "jobs", *options),
        ready="Oban started",
        environment={"OBAN_DSN": "{database}", "OBAN_NODE": "{worker}"},
    )


design = Design(
    name="contender:oban",
    summary="Oban for Python 0.7 with its defaults: a job in PostgreSQL in the caller's transaction",
    weakness="jobs that a dead worker was executing wait for 300 s; whatever executes longer is rescued and repeated",
    guarantees=Guarantees(delivery="at_least_once", transactional=True, cancels=True, recovers_within_s=360.0),
    roles=[role("--queues", "default:10")],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: Oban(),
    pending=pending,
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:oban:tuned",
    summary="Oban for Python 0.7: staged every 0.2 s, the jobs of a dead worker rescued after 3 s",
    weakness="a job that executes for more than 3 s is rescued as well, and delivered again",
    guarantees=replace(design.guarantees, recovers_within_s=4.0),
    roles=[role("--config", "{here}/tuned.toml")],
)
