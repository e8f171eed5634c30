"""deferjob behind ``schedule()``: a row in the caller's transaction, replaced and cancelled by its key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
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
    "SELECT key, payload->>'revision' AS revision, status, attempts FROM defer_jobs "
    "WHERE name = 'deliver' AND status IN ('pending', 'running', 'failed')"
)
STATES: dict[str, Literal["waiting", "held", "failed"]] = {"pending": "waiting", "running": "held", "failed": "failed"}
HERE = contender(__file__)


class DeferJob(Scheduler):
    """Schedules, replaces and cancels with ``conn=``, the caller's connection.

    max_attempts: after how many errors a job has failed for good; 5 is the library's default.
    """

    def __init__(self, *, max_attempts: int = 5) -> None:
        import deferjob

        self._jobs = deferjob.Defer()
        self._max_attempts = max_attempts
        self._not_found = deferjob.JobNotFound

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Schedule the job of the key, or move it, unless this revision or a newer one is not finished.

        Raises:
            deferjob.JobExists: a worker has begun the older revision. Roll back, and call again.
        """
        connection = _driver_connection(session)
        job = self._jobs.get(key=notification.key, conn=connection)
        if job is not None and job.payload["revision"] >= notification.revision:
            return
        self._jobs.schedule(
            "deliver",
            run_at=notification.due_at,
            payload={"key": notification.key, "revision": notification.revision},
            key=notification.key,
            max_attempts=self._max_attempts,
            replace=True,
            conn=connection,
        )

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Cancel the job of the key.

        Raises:
            deferjob.JobNotPending: a worker has begun it.
        """
        connection = _driver_connection(session)
        job = self._jobs.get(key=key, conn=connection)
        if job is not None and job.payload["revision"] < revision:
            with suppress(self._not_found):  # finished meanwhile
                self._jobs.cancel(key=key, conn=connection)


def _driver_connection(session: Session) -> psycopg.Connection[Any]:
    """Return psycopg's connection, in the caller's transaction."""
    connection: psycopg.Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]
    return connection


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(_settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the jobs that are neither done nor cancelled."""
        with engine.connect() as connection:
            return [
                Pending(
                    f"{job.key}/{job.revision}",
                    f"defer_jobs, {job.status}, {job.attempts} attempts",
                    STATES[job.status],
                    back_after_s if job.status == "running" else None,
                )
                for job in connection.execute(UNFINISHED)
            ]

    return jobs


def role(app: str, *options: str) -> Role:
    return Role(
        name="worker",
        argv=("{python}", "-m", "deferjob", "worker", "--app", app, *options),
        ready="worker started, polling every",
    )


design = Design(
    name="contender:deferjob",
    summary="deferjob 0.1 with its defaults: a row in PostgreSQL in the caller's transaction, looked at every 60 s",
    weakness="a worker looks for due jobs every 60 s and executes one at a time; the job of a dead worker waits for "
    "15 minutes, and cannot be moved or cancelled meanwhile",
    guarantees=Guarantees(
        delivery="at_least_once",
        transactional=True,
        cancels=True,
        # "After reclaim_after (15 minutes by default)", and a poll.
        recovers_within_s=960.0,
        punctual_to_s=60.0,
    ),
    roles=[role("jobs:jobs")],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: DeferJob(),
    pending=pending(960.0),
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:deferjob:tuned",
    summary="deferjob 0.1: looks every 0.5 s, and repeats the job of a dead worker after 3 s",
    weakness="a worker executes one job at a time; what a dead worker had delivered, and not marked as done, is "
    "delivered again; so is what is executed for more than 3 s",
    guarantees=replace(design.guarantees, recovers_within_s=4.0, punctual_to_s=0.0),
    roles=[role("tuned_jobs:jobs", "--poll", "0.5")],
    scheduler=lambda _settings: DeferJob(max_attempts=20),
    pending=pending(4.0),
)
