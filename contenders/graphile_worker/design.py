"""graphile-worker behind ``schedule()``: its SQL functions in the caller's transaction; the worker runs on Node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

WAITING = text("SELECT CAST(payload->>'revision' AS integer) FROM graphile_worker._private_jobs WHERE key = :key")
ADD = text(
    "SELECT graphile_worker.add_job('deliver', payload := CAST(:payload AS json), run_at := :due_at, job_key := :key, "
    "job_key_mode := 'replace')"
)
REMOVE = text("SELECT graphile_worker.remove_job(:key)")
PENDING = text(
    "SELECT payload->>'key' AS key, payload->>'revision' AS revision, attempts, max_attempts, locked_by "
    "FROM graphile_worker._private_jobs"
)
HERE = contender(__file__)


class GraphileWorker(Scheduler):
    """A job key identifies a waiting job, so a newer revision replaces the older one."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Add or replace the job of the key. If a worker has begun the older one, both run (documented)."""
        if self._waiting(session, notification.key) >= notification.revision:
            return
        payload = json.dumps({"key": notification.key, "revision": notification.revision})
        session.execute(ADD, {"payload": payload, "due_at": notification.due_at, "key": notification.key})

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
        return [
            Pending(
                f"{job.key}/{job.revision}",
                f"graphile_worker, {'locked by ' + job.locked_by if job.locked_by else 'waiting'}, "
                f"{job.attempts} of {job.max_attempts} attempts",
            )
            for job in connection.execute(PENDING)
        ]


design = Design(
    name="contender:graphile_worker",
    summary="graphile-worker 0.16 on Node with its defaults: a job in PostgreSQL in the caller's transaction",
    weakness="it looks for due jobs every 2 s; the jobs of a dead worker are free after 4 hours",
    guarantees=Guarantees(
        delivery="at_least_once",
        transactional=True,
        cancels=True,
        recovers_within_s=4 * 3600.0,
        punctual_to_s=2.5,
    ),
    roles=[Role(name="worker", argv=("node", "{here}/worker.js"), ready="{worker} is ready", orderly_exits=(0, -15))],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: GraphileWorker(),
    pending=pending,
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:graphile_worker:tuned",
    summary="graphile-worker 0.16 on Node, which looks for due jobs every 0.2 s",
    guarantees=replace(design.guarantees, punctual_to_s=0.0),
    roles=[replace(design.roles[0], environment={"POLL_INTERVAL_MS": "200"})],
)
