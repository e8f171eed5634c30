"""pg-boss behind ``schedule()``: rows of its job table in the caller's transaction; the worker runs on Node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import Engine, Row, column, insert, table, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from duetime.contenders import cache, contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

HERE = contender(__file__)
NODE = str(cache(HERE.here.name) / "node_modules" / ".bin" / "node")
"""Node 22, which pg-boss needs; the machine's may be older."""
QUEUE = "deliver"
RETENTION = timedelta(days=14)
"""As send() does, from the due time on. The column's default counts from the insert."""
JOB = table(
    "job",
    column("name"),
    column("data", JSONB),
    column("singleton_key"),
    column("start_after"),
    column("keep_until"),
    column("retry_limit"),
    column("retry_delay"),
    column("expire_seconds"),
    schema="pgboss",
)
# Two parts, because each has an index.
UNFINISHED = text(
    "SELECT id, CAST(data->>'revision' AS integer) AS revision FROM pgboss.job "
    "WHERE name = 'deliver' AND singleton_key = :key AND state < 'active' "
    "UNION ALL SELECT id, CAST(data->>'revision' AS integer) FROM pgboss.job "
    "WHERE name = 'deliver' AND singleton_key = :key AND state = 'active'"
)
CANCEL = text(
    "UPDATE pgboss.job SET state = 'cancelled', completed_on = now() "
    "WHERE name = 'deliver' AND id = ANY(:ids) AND state < 'completed'"
)
PENDING = text(
    "SELECT data->>'key' AS key, data->>'revision' AS revision, CAST(state AS text) AS state, retry_count, retry_limit "
    "FROM pgboss.job WHERE name = 'deliver' AND state IN ('created', 'retry', 'active', 'failed')"
)
TUNED_JOB = {"retry_limit": 25, "retry_delay": 1, "expire_seconds": 4}


class PgBoss(Scheduler):
    """Writes what pg-boss's send() and cancel() write. options: columns of the job, instead of their defaults."""

    def __init__(self, _settings: Settings, *, options: Mapping[str, Any] | None = None) -> None:
        self._options = options or {}

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Cancel the older jobs of the key, and insert one."""
        if self._cancel(session, notification.key, notification.revision):
            return
        job = {
            "name": QUEUE,
            "data": {"key": notification.key, "revision": notification.revision},
            "singleton_key": notification.key,
            "start_after": notification.due_at,
            "keep_until": notification.due_at + RETENTION,
        }
        session.execute(insert(JOB).values(**job, **self._options))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Cancel the older jobs of the key; one that a worker executes runs to its end, and is not retried."""
        self._cancel(session, key, revision)

    def _cancel(self, session: Session, key: str, revision: int) -> bool:
        """Cancel older jobs. Returns True if one of this revision or a newer one is not finished."""
        while True:
            jobs = session.execute(UNFINISHED, {"key": key}).all()
            older = [job.id for job in jobs if job.revision < revision]
            if not older:
                return any(job.revision >= revision for job in jobs)
            # A job that fails meanwhile is deleted and inserted again, so the update does not find it: look again.
            session.execute(CANCEL, {"ids": older})


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(_settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the jobs that are neither completed nor cancelled."""
        with engine.connect() as connection:
            return [_pending(job, back_after_s) for job in connection.execute(PENDING)]

    return jobs


def _pending(job: Row[Any], back_after_s: float) -> Pending:
    op = f"{job.key}/{job.revision}"
    where = f"pgboss.job, {job.state}, {job.retry_count} of {job.retry_limit} retries"
    if job.state == "active":
        return Pending(op, where, "held", back_after_s if job.retry_count < job.retry_limit else None)
    return Pending(op, where, "failed" if job.state == "failed" else "waiting")


DEFAULT_PUNCTUAL_S = 30.0
"""Each worker takes "1 job every 2 seconds", so one process with five needs 30 s for 75 jobs that are due together."""
DEFAULT_BACK_S = 900.0 + 120.0
"""Active for 15 minutes, and looked for every minute; the timer and the claim of that look take a minute each."""
TUNED_BACK_S = 8.0
"""Active for 4 s, looked for every second, retried after another second, and found within half a second."""
design = Design(
    name="contender:pg_boss",
    summary="pg-boss 12.38 on Node, default but five workers in each process: a job in the caller's transaction",
    weakness="each worker takes a job every 2 s; the jobs of a dead worker come back after 15 minutes",
    guarantees=Guarantees(
        delivery="at_least_once",
        transactional=True,
        cancels=True,
        recovers_within_s=DEFAULT_BACK_S,
        punctual_to_s=DEFAULT_PUNCTUAL_S,
    ),
    roles=[Role(name="worker", argv=(NODE, "{here}/worker.js"), ready="{worker} is ready")],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=PgBoss,
    pending=pending(DEFAULT_BACK_S),
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:pg_boss:tuned",
    summary="pg-boss 12.38 on Node: ten jobs every 0.5 s, or at once while there are more; expired after 4 s",
    weakness="a job that a dead worker had delivered, and not completed, is delivered again",
    guarantees=replace(design.guarantees, punctual_to_s=0.0, recovers_within_s=TUNED_BACK_S),
    roles=[replace(design.roles[0], argv=(NODE, "{here}/tuned_worker.js"))],
    scheduler=partial(PgBoss, options=TUNED_JOB),
    pending=pending(TUNED_BACK_S),
)
