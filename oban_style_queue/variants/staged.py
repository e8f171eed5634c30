"""Variant: what Oban itself does. A table of jobs is the truth, and the broker carries only what is due now.

Written in the caller's transaction; each second a stager hands what is due to Celery; a job whose worker was not heard
of for a while is rescued, judged purely by time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

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
from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway
from duetime.settings import Settings
from oban_style_queue.design import design as defaults
from oban_style_queue.design import serving

log = logging.getLogger(__name__)

STAGE_EVERY_S = 1.0
"""Oban's own stage interval."""
AT_ONCE = 5000
"""The most that one look hands over, as in Oban."""
FIRST_RETRY = timedelta(seconds=1)

metadata = MetaData()
jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("revision", Integer, nullable=False),
    Column("body", JSONB, nullable=False),
    # scheduled: waits for its time. available: handed to Celery. executing: some worker has begun.
    Column("state", Text, nullable=False),
    Column("scheduled_at", DateTime(timezone=True), nullable=False),
    Column("moved_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Index("jobs_by_time", "state", "scheduled_at", "id"),
)


class JobsTable(Scheduler):
    """Keeps jobs in the application's database."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Write the job. One that a worker has begun goes on with the older revision: then both are delivered."""
        row = {
            "key": notification.key,
            "revision": notification.revision,
            "body": notification.to_json(),
            "state": "scheduled",
            "scheduled_at": notification.due_at,
        }
        upsert = insert(jobs).values(row)
        newer = upsert.excluded.revision > jobs.c.revision
        session.execute(upsert.on_conflict_do_update(index_elements=["key"], set_={**row, "attempts": 0}, where=newer))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the job. What a worker has begun happens all the same."""
        session.execute(delete(jobs).where(jobs.c.key == key, jobs.c.revision < revision))


def stage(engine: Engine, publish: Callable[[int], object]) -> int:
    """Hand what is due to the broker; return how many that were.

    Published after the commit, or a worker might look before the state is there. Who dies in between is rescued.
    """
    due = (
        select(jobs.c.id)
        .where(jobs.c.state == "scheduled", jobs.c.scheduled_at <= func.clock_timestamp())
        .order_by(jobs.c.scheduled_at, jobs.c.id)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    with engine.begin() as connection:
        ids = list(connection.scalars(due))
        if ids:
            connection.execute(_to("available").where(jobs.c.id == any_(array(ids))))
    for job in ids:
        publish(job)
    return len(ids)


def rescue(engine: Engine, *, after: timedelta) -> int:
    """Take every job that has not moved for `after` for one whose worker is dead; return how many those were.

    Purely by time: a worker that is only slow is taken for dead as well, and its job done twice. Unlike Oban's, whose
    producers poll the table themselves, this one also hands over again what merely waits in the broker's queue; the
    copy finds nothing to do, but under a backlog it costs a message.
    """
    stuck = _to("scheduled").where(jobs.c.state != "scheduled", jobs.c.moved_at < func.clock_timestamp() - after)
    with engine.begin() as connection:
        return connection.execute(stuck).rowcount


def execute(engine: Engine, gateway: Gateway, job: int, *, effects: Effects = NO_EFFECTS) -> bool:
    """Deliver one job that was handed over; whether there was anything to do.

    No lock is held meanwhile: nobody waits for the outside world, and nobody knows whether this worker still lives.
    """
    mine = _to("executing").values(attempts=jobs.c.attempts + 1)
    with engine.begin() as connection:
        row = connection.execute(
            mine.where(jobs.c.id == job, jobs.c.state == "available").returning(*jobs.c)
        ).one_or_none()
    if row is None:
        return False
    notification = Notification.from_json(row.body)
    try:
        if effect := effects.of(notification):
            with engine.begin() as connection:
                connection.exec_driver_sql(*effect)
        else:
            gateway.deliver(notification, attempt=row.attempts)
    except Exception as error:  # noqa: BLE001 - whatever a gateway raises concerns this one notification
        log.warning("%s/%s goes back: %s", row.key, row.revision, error)
        put_back(engine, row)
    else:
        done(engine, row)
    return True


def done(engine: Engine, row: Row[Any]) -> None:
    with engine.begin() as connection:
        connection.execute(delete(jobs).where(jobs.c.id == row.id, jobs.c.revision == row.revision))


def put_back(engine: Engine, row: Row[Any]) -> None:
    """Try again after 1, 2, 4 … seconds, up to an hour."""
    wait = min(FIRST_RETRY * 2 ** min(row.attempts - 1, 20), timedelta(hours=1))
    later = _to("scheduled").values(scheduled_at=func.clock_timestamp() + wait)
    with engine.begin() as connection:
        connection.execute(later.where(jobs.c.id == row.id, jobs.c.revision == row.revision))


def _to(state: str) -> Any:  # SQLAlchemy's Update, whose type is private to a dialect once it returns rows
    return update(jobs).values(state=state, moved_at=func.clock_timestamp())


class Stager:
    """Stages and rescues each second until told to stop. Every server has one; they skip what another has locked."""

    def __init__(self, engine: Engine, publish: Callable[[int], object], *, rescue_after: timedelta) -> None:
        self._engine = engine
        self._publish = publish
        self._rescue_after = rescue_after
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.wait(STAGE_EVERY_S):
            try:
                rescue(self._engine, after=self._rescue_after)
                stage(self._engine, self._publish)
            except (OperationalError, InterfaceError) as error:
                log.warning("database away: %s", error)
            except Exception:
                # The broker, mostly: what was marked and not published is rescued like any other.
                log.exception("staging failed")


def install(engine: Engine) -> None:
    """Create the table of jobs."""
    metadata.create_all(engine)


def pending(_settings: Settings, engine: Engine) -> Sequence[Pending]:
    """The jobs that nobody has finished."""
    with engine.connect() as connection:
        rows = connection.execute(select(jobs.c.key, jobs.c.revision, jobs.c.state, jobs.c.attempts)).all()
    return [
        Pending(f"{row.key}/{row.revision}", f"row in jobs, {row.state}, after {row.attempts} attempts") for row in rows
    ]


design = replace(
    defaults,
    name="oban_style_queue:staged",
    summary="a table of jobs written in the caller's transaction; a stager hands what is due to Celery each second",
    weakness="up to a second late by its stager, and a worker that stands still is taken for dead, so what it had "
    "begun is done twice",
    guarantees=Guarantees(delivery="at_least_once", transactional=True, cancels=True),
    roles=[serving("oban_style_queue.variants.staged_app")],
    install=install,
    scheduler=lambda _settings: JobsTable(),
    pending=pending,
    status=None,
    migrate=None,
)
