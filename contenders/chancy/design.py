"""Chancy behind ``schedule()``: a job in the caller's transaction, found by its unique key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.asynchronous import run_to_end
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

# The last two conditions are the predicate of the unique index on unique_key.
UNFINISHED = text(
    "SELECT id, CAST(kwargs->>'revision' AS integer) AS revision FROM chancy_jobs "
    "WHERE unique_key = :key AND unique_key IS NOT NULL AND state NOT IN ('succeeded', 'failed')"
)
PENDING = text(
    "SELECT kwargs->>'key' AS key, kwargs->>'revision' AS revision, state, attempts FROM chancy_jobs "
    # A cancelled job has failed too, but no execution claims it any more.
    "WHERE state <> 'succeeded' AND NOT (state = 'failed' AND claim_id IS NULL)"
)
STATES = {"pending": "waiting", "retrying": "waiting", "running": "held", "failed": "failed"}
RETRY = {"retry_settings": {"backoff": 0.5, "backoff_limit": 2, "backoff_jitter": [0, 0.5]}}
HERE = contender(__file__)


class CallersCursor:
    """A cursor of the caller's transaction for what Chancy has in its asynchronous API only."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    async def execute(self, statement: Any, arguments: Any = None) -> None:
        self._cursor.execute(statement, arguments)

    @property
    def rowcount(self) -> Any:
        return self._cursor.rowcount


class Chancy(Scheduler):
    """Pushes with ``scheduled_at`` and cancels, both with a cursor of the caller's transaction."""

    def __init__(self, _settings: Settings, *, attempts: int = 1) -> None:
        from worker import chancy, deliver  # type: ignore[import-not-found]  # in this folder

        self._chancy = chancy
        self._job = deliver.job.with_max_attempts(attempts)
        if attempts > 1:
            self._job = self._job.with_meta(RETRY)

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Cancel the older job of the key, and push one. The unique key allows one that is not finished."""
        if self._cancel(session, notification.key, notification.revision):
            return
        job = (
            self._job.with_kwargs(key=notification.key, revision=notification.revision)
            .with_scheduled_at(notification.due_at)
            .with_unique_key(notification.key)
        )
        with callers_cursor(session) as cursor:
            self._chancy.sync_push_many_ex(cursor, [job])

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Cancel the older job of the key; one that a worker executes may run to its end."""
        self._cancel(session, key, revision)

    def _cancel(self, session: Session, key: str, revision: int) -> bool:
        """Cancel older jobs. Returns True if one of this revision or a newer one is not finished."""
        from chancy import Reference

        jobs = session.execute(UNFINISHED, {"key": key}).all()
        older = [job.id for job in jobs if job.revision < revision]
        for id_ in older:
            with callers_cursor(session) as cursor:
                # As cancel_job() does on a connection of its own.
                run_to_end(self._chancy.cancel_job_ex(CallersCursor(cursor), Reference(id_)))
                self._chancy.sync_notify(cursor, "job.cancelled", {"j": str(id_)})
        return len(older) < len(jobs)


def callers_cursor(session: Session) -> Any:
    from psycopg.rows import dict_row

    connection: Any = session.connection().connection.driver_connection
    return connection.cursor(row_factory=dict_row)


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(_settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the jobs that have neither succeeded nor been cancelled."""
        with engine.connect() as connection:
            return [
                Pending(
                    f"{job.key}/{job.revision}",
                    f"chancy_jobs, {job.state}, {job.attempts} attempts",
                    STATES[job.state],  # type: ignore[arg-type]
                    back_after_s if job.state == "running" else None,
                )
                for job in connection.execute(PENDING)
            ]

    return jobs


# A dead leader's lease lasts 120 s, the others look for it each 60 s, and the recovery then waits for up to 60 s.
design = Design(
    name="contender:chancy",
    summary="Chancy 0.26 with its defaults: a job in PostgreSQL in the caller's transaction",
    weakness="a worker fetches as many jobs as it has processors every 5 s; a dead worker's jobs come back after "
    "90 s to 240 s; an error is not retried",
    # "At least once", but "not exactly at that time", and without a bound: a run cannot tell late from never.
    guarantees=Guarantees(
        delivery="unstated", transactional=True, cancels=True, recovers_within_s=240.0, punctual_to_s=5.0
    ),
    roles=[
        Role(
            name="worker",
            # No --worker-id: the jobs of a dead worker whose name lives on are never recovered.
            argv=("{python}", "-m", "chancy.cli.cli", "--app", "worker.chancy", "worker", "start"),
            ready="Adding queue 'default'",
        )
    ],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=Chancy,
    pending=pending(240.0),
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:chancy:tuned",
    summary="Chancy 0.26: ten threads that look for jobs each second, jobs of a dead worker recovered, retries",
    weakness="a job that a dead worker had delivered, and not recorded, is delivered again",
    guarantees=replace(design.guarantees, delivery="at_least_once", recovers_within_s=6.0, punctual_to_s=0.0),
    roles=[replace(design.roles[0], argv=("{python}", "{here}/tuned_worker.py"))],
    install=lambda engine: HERE.run("install_tuned.py", engine),
    scheduler=partial(Chancy, attempts=20),
    pending=pending(6.0),
)
