"""graphile-worker behind ``schedule()``: its SQL functions in the caller's transaction; the worker runs on Node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, text
from sqlalchemy.orm import Session

from duetime.contenders import contender
from duetime.errors import BadUsage
from duetime.interface import Design, Guarantees, MigrationTarget, Notification, Pending, Role, Scheduler
from duetime.runtime.database import application_engine
from duetime.settings import Settings

# The view graphile_worker.jobs, which is documented, has no payload.
WAITING = text("SELECT CAST(payload->>'revision' AS integer) FROM graphile_worker._private_jobs WHERE key = :key")
ADD = text(
    "SELECT id FROM graphile_worker.add_job('deliver', payload := CAST(:payload AS json), run_at := :due_at, "
    "job_key := :key, job_key_mode := 'replace')"
)
REMOVE = text("SELECT graphile_worker.remove_job(:key)")
PENDING = text(
    "SELECT payload->>'key' AS key, payload->>'revision' AS revision, attempts, max_attempts, locked_by "
    "FROM graphile_worker._private_jobs"
)
FAILED = text("SELECT count(*) FROM graphile_worker.jobs WHERE attempts >= max_attempts AND locked_at IS NULL")
# A second ahead: graphile's workers deliver what is due sooner.
MOVABLE = text(
    "SELECT key, payload FROM graphile_worker._private_jobs WHERE is_available AND key IS NOT NULL "
    "AND run_at > clock_timestamp() + interval '1 second' ORDER BY run_at, id LIMIT 100 FOR UPDATE SKIP LOCKED"
)
# Jobs at a time, and how finished ones are released, as its page about performance advises.
TUNED = {
    "pollInterval": 200,
    "concurrentJobs": 10,
    "maxPoolSize": 12,
    "completeJobBatchDelay": 0,
    "failJobBatchDelay": 0,
}
ATTEMPTS_TO_ADD = 10
UNLOCKED_WITHIN_S = 4 * 3600 + 10 * 60
"""Locked for 4 hours, and a worker looks for such jobs every 8 to 10 minutes."""
HERE = contender(__file__)


class GraphileWorker(Scheduler):
    """A job key identifies a waiting job, so a newer revision replaces the older one."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Add or replace the job of the key. If a worker has begun the older one, both run (documented)."""
        if self._waiting(session, notification.key) >= notification.revision:
            return
        payload = json.dumps(notification.to_json())
        job = {"payload": payload, "due_at": notification.due_at, "key": notification.key}
        for _ in range(ATTEMPTS_TO_ADD):
            # "add_job may fail and return null. You should check for this": a worker has just locked the older job.
            if session.execute(ADD, job).scalar_one() is not None:
                return
        raise RuntimeError(f"graphile_worker.add_job returned null {ATTEMPTS_TO_ADD} times for {notification.key!r}")

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Remove the job of the key, unless it is newer."""
        if 0 < self._waiting(session, key) < revision:
            session.execute(REMOVE, {"key": key})

    def _waiting(self, session: Session, key: str) -> int:
        """Return the revision that waits; 0 if none does."""
        return session.execute(WAITING, {"key": key}).scalar_one_or_none() or 0


def pending(_settings: Settings, engine: Engine) -> Sequence[Pending]:
    """Return the jobs that are not done; a job that is done is deleted."""
    with engine.connect() as connection:
        return [_pending(job) for job in connection.execute(PENDING)]


def _pending(job: Row[Any]) -> Pending:
    op = f"{job.key}/{job.revision}"
    exhausted = job.attempts >= job.max_attempts  # also a locked job that was replaced or removed: it is not repeated
    attempts = f"{job.attempts} of {job.max_attempts} attempts"
    if job.locked_by:
        back_after_s = None if exhausted else UNLOCKED_WITHIN_S
        return Pending(op, f"graphile_worker, locked by {job.locked_by}, {attempts}", "held", back_after_s)
    return Pending(op, f"graphile_worker, {attempts}", "failed" if exhausted else "waiting")


def check_can_migrate(settings: Settings, _since: datetime | None) -> None:
    """Refuse to start while permanently failed jobs are kept.

    Raises:
        BadUsage: they are.
    """
    with application_engine(settings).connect() as connection:
        if failed := connection.execute(FAILED).scalar_one():
            raise BadUsage(
                f"graphile_worker.jobs holds {failed} permanently failed jobs, which a migration does not move; "
                "reschedule them or remove them (graphile-worker --cleanup DELETE_PERMAFAILED_JOBS), then run this "
                "command again"
            )


def migrate(_settings: Settings, engine: Engine, to: MigrationTarget, _since: datetime | None) -> int:
    """Move every job that waits for more than a second, and that no worker has locked. Returns how many.

    The removal comes last: a crash between the two commits duplicates up to 100 notifications and loses none.
    """
    moved = 0
    with Session(engine) as session, Session(engine) as target_session:
        while jobs := session.execute(MOVABLE).all():
            for job in jobs:
                to.accept(Notification.from_stored_json(job.payload), session=target_session)
            target_session.commit()
            for job in jobs:
                session.execute(REMOVE, {"key": job.key})
            session.commit()
            moved += len(jobs)
    return moved


design = Design(
    name="contender:graphile_worker",
    summary="graphile-worker 0.17 on Node with its defaults: a job in PostgreSQL in the caller's transaction",
    weakness="it looks for due jobs every 2 s and executes one at a time; the jobs of a dead worker are free after "
    "4 hours",
    guarantees=Guarantees(
        delivery="at_least_once",
        transactional=True,
        cancels=True,
        recovers_within_s=UNLOCKED_WITHIN_S,
        punctual_to_s=2.5,
    ),
    # After an orderly end it sends itself the signal again.
    roles=[Role(name="worker", argv=("node", "{here}/worker.js"), ready="{worker} is ready", orderly_exits=(0, -15))],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: GraphileWorker(),
    pending=pending,
    check_can_migrate=check_can_migrate,
    migrate=migrate,
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:graphile_worker:tuned",
    summary="graphile-worker 0.17 on Node: looks for due jobs every 0.2 s; a restarted worker unlocks its jobs",
    weakness="the jobs of a worker that died and is not started again are free after 4 hours",
    guarantees=replace(design.guarantees, punctual_to_s=0.0, recovers_within_s=0.0),
    roles=[replace(design.roles[0], environment={"WORKER_OPTIONS": json.dumps(TUNED), "POOL_FILE": "{state}/pool"})],
)
