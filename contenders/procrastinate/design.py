"""Procrastinate behind ``schedule()``: a job in the caller's transaction, found by its queueing lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

if TYPE_CHECKING:
    import psycopg

UNFINISHED = text(
    "SELECT id, CAST(args->>'revision' AS integer) AS revision FROM procrastinate_jobs "
    "WHERE status IN ('todo', 'doing') AND queueing_lock = :key"
)
PENDING = text(
    "SELECT args->>'key' AS key, args->>'revision' AS revision, status, attempts, abort_requested "
    "FROM procrastinate_jobs "
    # A cancelled job of a dead worker becomes failed when it is retried.
    "WHERE task_name = 'deliver' AND status IN ('todo', 'doing', 'failed') "
    "AND NOT (status = 'failed' AND abort_requested)"
)
STATES: dict[str, Literal["waiting", "held", "failed"]] = {"todo": "waiting", "doing": "held", "failed": "failed"}
HERE = contender(__file__)


class Procrastinate(Scheduler):
    """Defers a job with ``schedule_at`` over the caller's connection."""

    def __init__(self) -> None:
        from tasks import app, deliver  # type: ignore[import-not-found]  # in this folder

        self._job_manager = app.job_manager
        self._deliver = deliver

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Cancel the older job of the key, and defer one. A queueing lock allows one waiting job."""
        if self._cancel(session, notification.key, notification.revision):
            return
        self._deliver.configure(
            schedule_at=notification.due_at, queueing_lock=notification.key, connection=_driver_connection(session)
        ).defer(key=notification.key, revision=notification.revision)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Cancel the older job of the key; one that a worker executes runs to its end."""
        self._cancel(session, key, revision)

    def _cancel(self, session: Session, key: str, revision: int) -> bool:
        """Cancel older jobs. Returns True if one of this revision or a newer one is not finished."""
        jobs = session.execute(UNFINISHED, {"key": key}).all()
        for job in jobs:
            if job.revision < revision:
                # abort: the job of a dead worker must not be retried after this.
                self._job_manager.cancel_job_by_id(
                    job.id, abort=True, delete_job=True, connection=_driver_connection(session)
                )
        return any(job.revision >= revision for job in jobs)


def _driver_connection(session: Session) -> psycopg.Connection[Any]:
    """Return psycopg's connection, in the caller's transaction."""
    connection: psycopg.Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]
    return connection


def pending(back_after_s: float | None) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(_settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the jobs that have neither succeeded nor been cancelled."""
        with engine.connect() as connection:
            return [
                Pending(
                    f"{job.key}/{job.revision}",
                    f"procrastinate_jobs, {job.status}, {job.attempts} attempts",
                    STATES[job.status],
                    back_after_s if job.status == "doing" and not job.abort_requested else None,
                )
                for job in connection.execute(PENDING)
            ]

    return jobs


design = Design(
    name="contender:procrastinate",
    summary="Procrastinate 3.10 with its defaults: a job in PostgreSQL in the caller's transaction",
    weakness="it looks for due jobs every 5 s; a dead worker's jobs stay in doing until a task of yours retries them",
    guarantees=Guarantees(delivery="at_most_once", transactional=True, cancels=True, punctual_to_s=5.0),
    roles=[
        Role(
            name="worker",
            argv=("{python}", "-m", "procrastinate", "--app=tasks.app", "worker", "--name={worker}"),
            ready="Starting worker on",
        )
    ],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: Procrastinate(),
    pending=pending(None),
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
    pending=pending(6.0),
)
