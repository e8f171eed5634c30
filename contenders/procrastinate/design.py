"""Procrastinate behind ``schedule()``: a job in the caller's transaction, found by its queueing lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

if TYPE_CHECKING:
    import psycopg

WAITING = text(
    "SELECT id, CAST(args->>'revision' AS integer) AS revision FROM procrastinate_jobs "
    "WHERE status = 'todo' AND queueing_lock = :key"
)
PENDING = text("SELECT args->>'key' AS key, args->>'revision' AS revision, status, attempts FROM procrastinate_jobs")


class Procrastinate(Scheduler):
    """Defers a job with ``schedule_at`` over the caller's connection."""

    def __init__(self) -> None:
        from procrastinate import SyncPsycopgConnector
        from tasks import app, deliver  # type: ignore[import-not-found]  # in this folder

        self._app = app.with_connector(SyncPsycopgConnector())
        self._deliver = deliver

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Replace the waiting job of the key. A queueing lock allows one waiting job."""
        if self._cancel(session, notification.key, notification.revision):
            return
        self._deliver.configure(
            schedule_at=notification.due_at, queueing_lock=notification.key, connection=_driver_connection(session)
        ).defer(key=notification.key, revision=notification.revision)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the waiting job of the key; a job that a worker has begun is delivered."""
        self._cancel(session, key, revision)

    def _cancel(self, session: Session, key: str, revision: int) -> bool:
        """Delete an older waiting job. Returns True if one of this revision or a newer one waits."""
        for job in session.execute(WAITING, {"key": key}).all():
            if job.revision >= revision:
                return True
            self._app.job_manager.cancel_job_by_id(job.id, delete_job=True, connection=_driver_connection(session))
        return False


def _driver_connection(session: Session) -> psycopg.Connection[Any]:
    """Return psycopg's connection, in the caller's transaction."""
    connection: psycopg.Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]
    return connection


HERE = contender(__file__)


def pending(_settings: Settings, engine: Engine) -> Sequence[Pending]:
    """Return the jobs that have not succeeded."""
    with engine.connect() as connection:
        return [
            Pending(f"{job.key}/{job.revision}", f"procrastinate_jobs, {job.status}, {job.attempts} attempts")
            for job in connection.execute(PENDING)
            if job.status in ("todo", "doing", "failed")
        ]


design = Design(
    name="contender:procrastinate",
    summary="Procrastinate 3.10 with its defaults: a job in PostgreSQL in the caller's transaction",
    weakness="it looks for due jobs every 5 s; a dead worker's jobs stay in doing until a task of yours retries them",
    guarantees=Guarantees(delivery="at_most_once", transactional=True, cancels=True, punctual_to_s=5.0),
    roles=[
        Role(
            name="worker",
            argv=("{python}", "-m", "procrastinate", "--app=tasks.app", "worker", "--name={worker}", "--concurrency=4"),
            ready="Starting worker on",
        )
    ],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: Procrastinate(),
    pending=pending,
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:procrastinate:tuned",
    summary="Procrastinate 3.10: looks for due jobs every 0.5 s, and retries the jobs of a dead worker after 3 s",
    weakness="a job that a dead worker had delivered, and not finished, is delivered again",
    guarantees=Guarantees(delivery="at_least_once", transactional=True, cancels=True, recovers_within_s=6.0),
    roles=[replace(design.roles[0], argv=("{python}", "{here}/tuned_tasks.py", "{worker}"))],
)
