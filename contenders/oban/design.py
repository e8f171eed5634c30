"""Oban for Python behind ``schedule()``: a job in the caller's transaction, older jobs of the key cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.asynchronous import run_to_end
from duetime.contenders import contender
from duetime.errors import BadUsage
from duetime.interface import Design, Guarantees, MigrationTarget, Notification, Pending, Role, Scheduler
from duetime.runtime.database import application_engine
from duetime.settings import Settings

UNFINISHED = text(
    "SELECT id, CAST(args->>'revision' AS integer) AS revision FROM oban_jobs WHERE args->>'key' = :key "
    "AND state IN ('scheduled', 'available', 'executing', 'retryable', 'suspended')"
)
PENDING = text(
    "SELECT args->>'key' AS key, args->>'revision' AS revision, state, attempt FROM oban_jobs "
    "WHERE state NOT IN ('completed', 'cancelled')"
)
DISCARDED = text("SELECT count(*) FROM oban_jobs WHERE state = 'discarded'")
# A second ahead: Oban's workers deliver what is due sooner.
MOVABLE = text(
    "SELECT id, args FROM oban_jobs WHERE state IN ('scheduled', 'retryable') "
    "AND scheduled_at > timezone('UTC', clock_timestamp()) + interval '1 second' "
    "ORDER BY scheduled_at, id LIMIT 100 FOR UPDATE SKIP LOCKED"
)
STATES = {"executing": "held", "discarded": "failed"}
HERE = contender(__file__)
callers: ContextVar[CallersConnection] = ContextVar("callers")


class CallersConnection:
    """The caller's synchronous connection as Oban's pool would lend one; its transaction is the caller's."""

    def __init__(self, session: Session) -> None:
        self._connection: Any = session.connection().connection.driver_connection

    async def execute(self, statement: Any, arguments: Any = None) -> Any:
        return Rows(self._connection.execute(statement, arguments))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield


class Rows:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.rowcount = cursor.rowcount

    async def fetchone(self) -> Any:
        return self._cursor.fetchone()

    async def fetchall(self) -> Any:
        return self._cursor.fetchall()


def new_oban() -> Any:
    """Return an Oban without queues, "client-only", that executes each statement in its caller's transaction."""
    import oban
    from psycopg_pool import AsyncConnectionPool

    class CallersPool(AsyncConnectionPool):
        """Is never opened. cancel_many_jobs() takes no connection, as enqueue() does, so its pool lends one."""

        @asynccontextmanager
        async def connection(self, _timeout: float | None = None) -> AsyncIterator[Any]:
            yield callers.get()

    return oban.Oban(pool=CallersPool("", open=False))


class Oban(Scheduler):
    """Enqueues with ``scheduled_at`` and cancels, both in the caller's transaction."""

    def __init__(self) -> None:
        from jobs import Deliver  # type: ignore[import-not-found]  # in this folder

        self._oban = new_oban()
        self._worker = Deliver

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Cancel the older jobs of the key, and enqueue one, unless this revision or a newer one waits."""
        if self._cancel(session, notification.key, notification.revision):
            return
        job = self._worker.new(notification.to_json(), scheduled_at=notification.due_at)
        run_to_end(self._oban.enqueue(job, conn=CallersConnection(session)))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Cancel the older jobs of the key; one that a worker has begun runs to its end."""
        self._cancel(session, key, revision)

    def _cancel(self, session: Session, key: str, revision: int) -> bool:
        jobs = session.execute(UNFINISHED, {"key": key}).all()
        if older := [job.id for job in jobs if job.revision < revision]:
            cancel_jobs(self._oban, older, session)
        return any(job.revision >= revision for job in jobs)


def cancel_jobs(oban: Any, ids: Sequence[int], session: Session) -> None:
    """Cancel these jobs in the transaction of `session`."""
    before = callers.set(CallersConnection(session))
    try:
        run_to_end(oban.cancel_many_jobs(ids))
    finally:
        callers.reset(before)


def check_can_migrate(settings: Settings, _since: datetime | None) -> None:
    """Refuse to start while discarded jobs are kept.

    Raises:
        BadUsage: they are.
    """
    with application_engine(settings).connect() as connection:
        if discarded := connection.execute(DISCARDED).scalar_one():
            raise BadUsage(
                f"oban_jobs holds {discarded} discarded jobs, which a migration does not move; retry or delete them "
                "(retry_many_jobs, delete_many_jobs), then run this command again"
            )


def migrate(_settings: Settings, engine: Engine, to: MigrationTarget, _since: datetime | None) -> int:
    """Move every job that waits for more than a second, and that no worker has begun. Returns how many.

    The cancel comes last: a crash between the two commits duplicates up to 100 notifications and loses none.
    """
    oban, moved = new_oban(), 0
    with Session(engine) as session, Session(engine) as target_session:
        while jobs := session.execute(MOVABLE).all():
            for job in jobs:
                to.accept(Notification.from_stored_json(job.args), session=target_session)
            target_session.commit()
            cancel_jobs(oban, [job.id for job in jobs], session)
            session.commit()
            moved += len(jobs)
    return moved


def pending_within(rescue_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    """Return the `pending` of workers that rescue a job at most `rescue_s` after it has begun."""

    def pending(_settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the jobs that are neither completed nor cancelled."""
        with engine.connect() as connection:
            return [
                Pending(
                    f"{job.key}/{job.revision}",
                    f"oban_jobs, {job.state}, attempt {job.attempt}",
                    STATES.get(job.state, "waiting"),  # type: ignore[arg-type]
                    rescue_s if job.state == "executing" else None,
                )
                for job in connection.execute(PENDING)
            ]

    return pending


def role(*options: str) -> Role:
    return Role(
        name="worker",
        argv=("{python}", "-m", "oban", "start", "--cron-modules", "jobs", *options),
        ready="Oban started",
        # The name outlives a restart, so a restarted leader need not wait until its own lease of 30 s ends.
        environment={"OBAN_DSN": "{database}", "OBAN_NODE": "{worker}"},
    )


# rescue_after and the interval of the lifeline: by default 300 s and 60 s.
design = Design(
    name="contender:oban",
    summary="Oban for Python 0.7 with its defaults: a job in PostgreSQL in the caller's transaction",
    weakness="jobs that a dead worker was executing wait for 300 s; one that executes longer is rescued and repeated",
    guarantees=Guarantees(
        delivery="at_least_once",
        transactional=True,
        cancels=True,
        recovers_within_s=360.0,
        # A round of the stager each second, and only the next one tells the queue what this one has staged.
        punctual_to_s=2.5,
    ),
    roles=[role("--queues", "default:10")],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: Oban(),
    pending=pending_within(360.0),
    check_can_migrate=check_can_migrate,
    migrate=migrate,
    uses_broker=False,
    contender=HERE,
)
tuned_role = role("--config", "{here}/tuned.toml")
tuned = replace(
    design,
    name="contender:oban:tuned",
    summary="Oban for Python 0.7: staged every 0.2 s, the jobs of a dead worker rescued after 3 s",
    weakness="a job that executes for more than 3 s is rescued as well, and delivered again",
    guarantees=replace(design.guarantees, recovers_within_s=4.0, punctual_to_s=0.0),
    roles=[replace(tuned_role, environment={**tuned_role.environment, "RETRY_AFTER_S": "1"})],
    pending=pending_within(4.0),
)
