"""Variant: what Oban itself does. A table of jobs is the truth, and the broker carries only what is due now.

A job is written in the caller's transaction. A stager hands due jobs to Celery each second, and rescues jobs that have
not moved for a while.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from celery import Celery, bootsteps
from celery.signals import worker_process_init
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Engine,
    Identity,
    Index,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    any_,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, array, insert
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from duetime.interface import Guarantees, Notification, Pending, Scheduler
from duetime.limits import check_same_content
from duetime.runtime.calls import check_cancel, usable_session
from duetime.runtime.database import application_engine
from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway
from duetime.settings import Settings
from oban_style_queue.celeryapp import Connections, new_app
from oban_style_queue.design import design as defaults
from oban_style_queue.design import worker_role

log = logging.getLogger(__name__)

STAGE_EVERY_S = 1.0
"""Oban's own stage interval."""
BATCH_SIZE = 5000
"""The most jobs that are staged at once, as in Oban."""
FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(hours=1)

metadata = MetaData()
jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("revision", Integer, nullable=False),
    Column("body", JSONB, nullable=False),
    # scheduled: waits for its time. available: handed to Celery. executing: a worker has begun.
    Column("state", Text, nullable=False),
    Column("scheduled_at", DateTime(timezone=True), nullable=False),
    Column("moved_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Index("jobs_by_time", "state", "scheduled_at", "id"),
)


class JobsTable(Scheduler):
    """Keeps jobs in the application's database."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Write the job. If a worker is executing an older revision, both revisions are delivered."""
        session = usable_session(session)
        row = {
            "key": notification.key,
            "revision": notification.revision,
            "body": notification.to_json(),
            "state": "scheduled",
            "scheduled_at": notification.due_at,
        }
        upsert = insert(jobs).values(row)
        newer = upsert.excluded.revision > jobs.c.revision
        upsert = upsert.on_conflict_do_update(index_elements=["key"], set_={**row, "attempts": 0}, where=newer)
        if session.execute(upsert.returning(jobs.c.id)).one_or_none() is None:
            _check_stored(session, notification)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the job. A delivery that a worker has begun still happens."""
        session = usable_session(session)
        check_cancel(key, revision)
        session.execute(delete(jobs).where(jobs.c.key == key, jobs.c.revision < revision))


def _check_stored(session: Session, notification: Notification) -> None:
    """Check that the job of the same revision, which was not written again, has the same content."""
    mine = (jobs.c.key == notification.key, jobs.c.revision == notification.revision)
    if body := session.scalar(select(jobs.c.body).where(*mine)):
        check_same_content(notification, Notification.from_stored_json(body))


def stage(engine: Engine, publish: Callable[[int], object]) -> int:
    """Hand due jobs to the broker; return how many.

    Published after the commit, or a worker could read the job before its new state is visible. Jobs that a crash in
    between leaves unpublished are rescued.
    """
    due = (
        select(jobs.c.id)
        .where(jobs.c.state == "scheduled", jobs.c.scheduled_at <= func.clock_timestamp())
        .order_by(jobs.c.scheduled_at, jobs.c.id)
        .limit(BATCH_SIZE)
        .with_for_update(skip_locked=True)
    )
    with engine.begin() as connection:
        ids = list(connection.scalars(due))
        if ids:
            connection.execute(_set_state("available").where(jobs.c.id == any_(array(ids))))
    for job in ids:
        publish(job)
    return len(ids)


def rescue(engine: Engine, *, after: timedelta) -> int:
    """Schedule every job again that has not moved for `after`; return how many.

    Judged by time alone, so the job of a slow worker is executed again. Oban's producers poll the table themselves;
    here also a job that only waits in the broker's queue is published again. That copy finds nothing to do, but costs
    a message under a backlog.
    """
    # The age is compared, because subtracting days would count those of the session's time zone.
    too_old = func.clock_timestamp() - jobs.c.moved_at > after
    # A host that has vanished may keep rows locked for hours. Whoever waited for them would stage nothing meanwhile.
    stuck = select(jobs.c.id).where(jobs.c.state != "scheduled", too_old).with_for_update(skip_locked=True)
    with engine.begin() as connection:
        return connection.execute(_set_state("scheduled").where(jobs.c.id.in_(stuck))).rowcount


def execute(engine: Engine, gateway: Gateway, job: int, *, effects: Effects = NO_EFFECTS) -> bool:
    """Deliver one job that was staged. Returns True if there was anything to do.

    No lock is held during the delivery, so no transaction waits for the gateway.
    """
    row = _begin(engine, job)
    if row is None:
        return False
    notification = Notification.from_stored_json(row.body)
    try:
        if effect := effects.of(notification):
            with engine.begin() as connection:
                connection.exec_driver_sql(*effect)
        else:
            gateway.deliver(notification, attempt=row.attempts)
    except Exception as error:  # noqa: BLE001 - any error of a gateway concerns only this notification
        log.warning("%s/%s will be retried: %s", row.key, row.revision, error)
        _retry_later(engine, row)
    else:
        _finish(engine, row)
    return True


def _begin(engine: Engine, job: int) -> Row[Any] | None:
    executing = _set_state("executing").values(attempts=jobs.c.attempts + 1)
    available = executing.where(jobs.c.id == job, jobs.c.state == "available")
    with engine.begin() as connection:
        row: Row[Any] | None = connection.execute(available.returning(*jobs.c)).one_or_none()
        return row


def _finish(engine: Engine, row: Row[Any]) -> None:
    with engine.begin() as connection:
        connection.execute(delete(jobs).where(jobs.c.id == row.id, jobs.c.revision == row.revision))


def _retry_later(engine: Engine, row: Row[Any]) -> None:
    """Schedule the job again, 1, 2, 4 … seconds from now and at most an hour."""
    wait = min(FIRST_RETRY * 2 ** min(row.attempts - 1, 20), LONGEST_RETRY)
    later = _set_state("scheduled").values(scheduled_at=func.clock_timestamp() + wait)
    with engine.begin() as connection:
        connection.execute(later.where(jobs.c.id == row.id, jobs.c.revision == row.revision))


def _set_state(state: str) -> Any:  # SQLAlchemy's Update, which is of another type once it returns rows
    return update(jobs).values(state=state, moved_at=func.clock_timestamp())


class Stager:
    """Stages and rescues each second. Every worker runs one; each skips the rows that another has locked."""

    def __init__(self, engine: Engine, publish: Callable[[int], object], *, rescue_after: timedelta) -> None:
        self._engine = engine
        self._publish = publish
        self._rescue_after = rescue_after
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        """Run until ``stop()``."""
        while not self._stopping.wait(STAGE_EVERY_S):
            try:
                rescue(self._engine, after=self._rescue_after)
                stage(self._engine, self._publish)
            except (OperationalError, InterfaceError) as error:
                log.warning("the database is not available: %s", error)
            except Exception:
                # Usually the broker. Jobs that are marked and not published are rescued.
                log.exception("staging failed")


class StagerStep(bootsteps.StartStopStep):
    """Runs `stager` in a thread from the worker's start to its stop."""

    requires = ("celery.worker.components:Pool",)

    stager: Stager

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._thread = threading.Thread(target=self.stager.run, name="stager", daemon=True)

    def start(self, _parent: Any) -> None:
        self._thread.start()

    def stop(self, _parent: Any) -> None:
        self.stager.stop()
        self._thread.join(timeout=10)


def make_app(settings: Settings) -> Celery:
    """Return the application: a task without ETA, and a stager in each worker."""
    app = new_app(settings)
    # Or an error that the broker answers, such as NOREPLICAS, ends the worker, and the stager with it.
    app.conf.broker_channel_error_retry = True
    connections = Connections(settings)
    worker_process_init.connect(connections.open, weak=False)

    @app.task(
        name="oban_style_queue.execute",
        ignore_result=True,
        shared=False,
        # While the database is not available, retry after 1, 2, 4 … seconds rather than wait for the rescue.
        autoretry_for=(OperationalError,),
        retry_backoff=True,
        retry_jitter=False,
        max_retries=None,
    )
    def run(job: int) -> None:
        """Call ``execute``."""
        execute(connections.engine, connections.gateway, job, effects=connections.effects)

    # An engine of its own, because the pool's processes are forked from the process that runs the stager.
    stager = Stager(
        application_engine(settings, isolation_level="READ COMMITTED"),
        run.delay,
        rescue_after=settings.rescue_after,
    )
    app.steps["worker"].add(type("StagerStep", (StagerStep,), {"stager": stager}))
    return app


def pending(settings: Settings, engine: Engine) -> Sequence[Pending]:
    """Return the jobs that are not finished. One that executes for too long is rescued."""
    back_after_s = settings.rescue_after.total_seconds()
    with engine.connect() as connection:
        rows = connection.execute(select(jobs.c.key, jobs.c.revision, jobs.c.state, jobs.c.attempts)).all()
    return [
        Pending(
            f"{row.key}/{row.revision}",
            f"row in jobs, {row.state}, after {row.attempts} attempts",
            *(("held", back_after_s) if row.state == "executing" else ()),
        )
        for row in rows
    ]


design = replace(
    defaults,
    name="oban_style_queue:staged",
    summary="a table of jobs written in the caller's transaction; a stager hands what is due to Celery each second",
    weakness="deliveries are up to a second late, because the stager runs each second; and the job of a worker that is "
    "slow or paused is executed again by another worker",
    guarantees=Guarantees(delivery="at_least_once", transactional=True, cancels=True),
    roles=[worker_role("oban_style_queue.variants.staged_worker")],
    install=metadata.create_all,
    scheduler=lambda _settings: JobsTable(),
    pending=pending,
    status=None,
    migrate=None,
)
