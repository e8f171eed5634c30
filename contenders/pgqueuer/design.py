"""PgQueuer behind ``schedule()``: a job in the caller's transaction, found by its dedupe key."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

# The last two conditions are the predicate of the unique index on dedupe_key.
ACTIVE = text(
    "SELECT id, payload FROM pgqueuer "
    "WHERE dedupe_key = :key AND status IN ('queued', 'picked') AND dedupe_key IS NOT NULL"
)
PENDING = text("SELECT payload, status, attempts FROM pgqueuer WHERE entrypoint = 'deliver'")
STATES = {"queued": "waiting", "picked": "held", "failed": "failed"}
HERE = contender(__file__)


class CallersTransaction:
    """A driver for PgQueuer over the caller's connection; its SyncPsycopgDriver refuses one without autocommit."""

    def __init__(self, session: Session) -> None:
        self._connection: Any = session.connection().connection.driver_connection

    def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        from psycopg import RawCursor
        from psycopg.rows import dict_row

        cursor = RawCursor(self._connection, row_factory=dict_row)
        cursor.execute(query, args or None)
        return cursor.fetchall() if cursor.description else []


class PgQueuer(Scheduler):
    """Enqueues with ``execute_after``, over the caller's connection."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Cancel the older job of the key, and enqueue one; the dedupe key allows one that is not finished."""
        from pgqueuer.queries import SyncQueries

        if self._cancel(session, notification.key, notification.revision):
            return
        # execute_after is added to NOW(), the time at which the caller's transaction began.
        began_at = session.execute(text("SELECT now()")).scalar_one()
        SyncQueries(CallersTransaction(session)).enqueue(
            "deliver",
            json.dumps({"key": notification.key, "revision": notification.revision}).encode(),
            execute_after=notification.due_at - began_at,
            dedupe_key=notification.key,
        )

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Cancel the older job of the key; one that a worker executes runs to its end."""
        self._cancel(session, key, revision)

    def _cancel(self, session: Session, key: str, revision: int) -> bool:
        """Cancel an older job. Returns True if one of this revision or a newer one is not finished."""
        from pgqueuer.queries import SyncQueries

        jobs = {job.id: json.loads(bytes(job.payload))["revision"] for job in session.execute(ACTIVE, {"key": key})}
        if older := [id_ for id_, found in jobs.items() if found < revision]:
            # mark_job_as_cancelled() is only in the asynchronous Queries; this is the statement that it executes.
            driver = CallersTransaction(session)
            statement = SyncQueries(driver).qbq.build_log_job_query()
            driver.fetch(statement, older, ["canceled"] * len(older), [None] * len(older))
        return len(jobs) > len(older)


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(_settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the jobs of the queue table; one that is finished, or has failed and is not held, has left it."""
        with engine.connect() as connection:
            return [_pending(job, back_after_s) for job in connection.execute(PENDING)]

    return jobs


def _pending(job: Any, back_after_s: float) -> Pending:
    payload = json.loads(bytes(job.payload))
    state: Any = STATES[job.status]
    return Pending(
        f"{payload['key']}/{payload['revision']}",
        f"pgqueuer, {job.status}, {job.attempts} attempts",
        state,
        back_after_s if state == "held" else None,
    )


def role(*command: str) -> Role:
    return Role(name="worker", argv=("{python}", "-m", "pgqueuer", "run", *command), ready="consumer ready")


design = Design(
    name="contender:pgqueuer",
    summary="PgQueuer 1.6 with its defaults: a job in PostgreSQL in the caller's transaction",
    weakness="a dead worker's jobs come back after 30 to 60 s; a job that raises an error is deleted, not retried",
    # Its documentation promises neither: "a job can run more than once", and an error is not retried.
    guarantees=Guarantees(delivery="once_without_faults", transactional=True, cancels=True, recovers_within_s=60.0),
    roles=[role("consumer:main")],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: PgQueuer(),
    pending=pending(60.0),
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:pgqueuer:tuned",
    summary="PgQueuer 1.6: a dead worker's jobs come back after 3 s, and a job that raises an error is retried",
    weakness="a job that a dead worker had delivered, and not finished, is delivered again",
    guarantees=replace(design.guarantees, delivery="at_least_once", recovers_within_s=4.0),
    roles=[
        role(
            "consumer:tuned",
            "--heartbeat-timeout=3",
            "--dequeue-timeout=1",
            "--shutdown-on-listener-failure",
        )
    ],
    install=lambda engine: HERE.run("install_tuned.py", engine),
    pending=pending(4.0),
)
