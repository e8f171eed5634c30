"""Awa behind ``schedule()``: a job in the caller's transaction; older jobs of the key are cancelled after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

# Awa's tables, because its view awa.jobs has no running job, unless a row in awa.leases tells more of it, and asks a
# sequence, which no snapshot includes, what has been claimed. A claim is in lease_claims, because the queues here have
# a deadline, and open until it is marked or one of these tables proves its end, as for Awa's get_job().
UNFINISHED = """
SELECT job_id AS id, args->>'key' AS key, CAST(args->>'revision' AS integer) AS revision, state, attempt FROM (
    SELECT job_id, kind, args, CAST(state AS text), attempt FROM awa.deferred_jobs
    UNION ALL SELECT job_id, kind, args, CAST(state AS text), attempt FROM awa.dlq_entries
    UNION ALL SELECT job_id, kind, args, CAST(state AS text), attempt FROM awa.terminal_jobs WHERE state = 'failed'
    UNION ALL SELECT job_id, kind, args, 'available', attempt FROM awa.ready_entries AS ready
    WHERE NOT EXISTS (
        SELECT FROM awa.ready_tombstones AS withdrawn
        WHERE (withdrawn.ready_slot, withdrawn.ready_generation, withdrawn.queue) =
              (ready.ready_slot, ready.ready_generation, ready.queue)
        AND (withdrawn.priority, withdrawn.enqueue_shard, withdrawn.lane_seq) =
            (ready.priority, ready.enqueue_shard, ready.lane_seq)
    ) AND NOT EXISTS (
        SELECT FROM awa.ready_claim_attempt_batches AS claimed
        WHERE (claimed.ready_slot, claimed.ready_generation, claimed.queue) =
              (ready.ready_slot, ready.ready_generation, ready.queue)
        AND (claimed.priority, claimed.enqueue_shard) = (ready.priority, ready.enqueue_shard)
        AND claimed.lane_ranges @> ready.lane_seq
    )
    UNION ALL SELECT job_id, kind, args, 'running', claim.attempt FROM awa.lease_claims AS claim
    JOIN awa.ready_entries AS ready USING (ready_slot, ready_generation, queue, enqueue_shard, lane_seq, job_id)
    WHERE closed_at IS NULL AND NOT EXISTS (
        SELECT FROM awa.lease_claim_closures AS closure
        WHERE (closure.claim_slot, closure.job_id, closure.run_lease) =
              (claim.claim_slot, claim.job_id, claim.run_lease)
    ) AND NOT EXISTS (
        SELECT FROM awa.lease_claim_closure_batches AS closure WHERE closure.receipt_ranges @> claim.receipt_id
    ) AND (claim.job_id, claim.run_lease) NOT IN (
        SELECT job_id, run_lease FROM awa.done_entries
        UNION ALL SELECT job_id, run_lease FROM awa.deferred_jobs
        UNION ALL SELECT job_id, run_lease FROM awa.dlq_entries
    )
) AS job
WHERE kind = 'deliver'
"""
PENDING = text(UNFINISHED)
OF_KEY = text(f"{UNFINISHED} AND args->>'key' = :key AND state <> 'failed'")
OF_JOB = f"{UNFINISHED} AND job_id = $1 AND state <> 'failed'"
STATES: dict[str, Literal["held", "failed"]] = {"running": "held", "failed": "failed"}
HERE = contender(__file__)


class Awa(Scheduler):
    """Inserts with ``awa.bridge`` into the caller's transaction. ``cancel()`` has a connection of its own."""

    def __init__(self) -> None:
        import awa
        from awa.bridge import insert_job_sync
        from jobs import DATABASE_URL, Deliver  # type: ignore[import-not-found]  # in this folder

        self._client = awa.Client(DATABASE_URL, max_connections=1)
        self._insert: Any = insert_job_sync
        self._job = Deliver
        # A job that is not found raises the class itself, and a lost connection one of its subclasses.
        self._error: type[Exception] = awa.AwaError

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Insert a job, and cancel older ones of the key after the commit, unless this one or a newer one waits."""
        if self._cancel(session, notification.key, notification.revision):
            return
        self._insert(session, self._job(notification.key, notification.revision), run_at=notification.due_at)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, cancel the older jobs of the key; one that a worker has begun runs to its end."""
        self._cancel(session, key, revision)

    def _cancel(self, session: Session, key: str, revision: int) -> bool:
        """Cancel older jobs. Returns True if one of this revision or a newer one is not finished."""
        jobs = session.execute(OF_KEY, {"key": key}).all()
        for job in jobs:
            if job.revision < revision:
                after_commit(session, lambda number=job.id: self._cancel_job(number))
        return any(job.revision >= revision for job in jobs)

    def _cancel_job(self, number: int) -> None:
        """Cancel a job that has not ended. Awa does not find it while it becomes due or its worker completes it."""
        while not self._cancelled(number):
            with self._client.transaction() as transaction:
                if not transaction.fetch_all(OF_JOB, number):
                    return

    def _cancelled(self, number: int) -> bool:
        try:
            self._client.cancel(number)
        except self._error as error:
            if type(error) is not self._error:
                raise
            return False
        return True


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def jobs(_settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the jobs that are neither completed nor cancelled."""
        with engine.connect() as connection:
            return [
                Pending(
                    f"{job.key}/{job.revision}",
                    f"awa, {job.state}, attempt {job.attempt}",
                    STATES.get(job.state, "waiting"),
                    back_after_s if job.state == "running" else None,
                )
                for job in connection.execute(PENDING)
            ]

    return jobs


# "heartbeat_staleness + heartbeat_rescue_interval in the worst case", a new leader after 10 s, and a delay of up to
# 2.5 s before the second attempt.
RESCUE_S = 90.0 + 30.0 + 10.0 + 2.5
TUNED_RESCUE_S = 4.0 + 1.0 + 1.0 + 2.5
design = Design(
    name="contender:awa",
    summary="Awa 0.6 with its defaults: a job in PostgreSQL in the caller's transaction",
    weakness="a cancel is not part of the caller's transaction; the jobs of a dead worker come back after two minutes",
    guarantees=Guarantees(
        delivery="at_least_once",
        transactional=True,
        transactional_cancel=False,
        cancels=True,
        recovers_within_s=RESCUE_S,
    ),
    roles=[Role(name="worker", argv=("{python}", "{here}/worker.py"), ready="worker started")],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: Awa(),
    pending=pending(RESCUE_S),
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:awa:tuned",
    summary="Awa 0.6: the jobs of a dead worker come back after 8.5 s, and a failed one after 1 s",
    weakness="a cancel is not part of the caller's transaction; a job that a dead worker had delivered, and not "
    "completed, is delivered again",
    guarantees=replace(design.guarantees, recovers_within_s=TUNED_RESCUE_S),
    roles=[replace(design.roles[0], argv=("{python}", "{here}/worker.py", "tuned"))],
    pending=pending(TUNED_RESCUE_S),
)
