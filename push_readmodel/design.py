"""The design: its guarantees and the worker processes that it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sqlalchemy import Engine, text

from duetime.interface import Design, Guarantees, Pending, Role
from duetime.settings import Settings
from push_readmodel.drain_settings import MAX_BATCH_ROWS, DrainSettings
from push_readmodel.failed import FailedNotifications
from push_readmodel.migrate import check_can_migrate, migrate
from push_readmodel.partitions import install_partitioned
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from push_readmodel.status import status

# One statement, so that a row that moves from one table to the other meanwhile is seen once.
STILL_PENDING = text("""
    SELECT key || '/' || revision, 'row in pending_notifications after ' || attempts || ' failed attempts', 'waiting'
    FROM pending_notifications
    UNION ALL
    SELECT key || '/' || revision, 'given up, in failed_notifications after ' || attempts || ' failed attempts',
        'failed'
    FROM failed_notifications
""")


def install(engine: Engine) -> None:
    """Create the tables of the read model."""
    metadata.create_all(engine)


def still_pending(_settings: Settings, engine: Engine) -> Sequence[Pending]:
    """Return the rows that no drain has deleted, and those that one has given up."""
    with engine.connect() as connection:
        return [Pending(*row) for row in connection.execute(STILL_PENDING)]


def worker_role(app: str) -> Role:
    """Return the role of a worker that runs `app`."""
    return Role(
        name="worker",
        argv=(
            *(sys.executable, "-m", "celery", "-A", app, "worker"),
            # -P threads: prefork would fork a process in which the thread of the drain already runs.
            *("-P", "threads"),
            *("-n", "{worker}@push_readmodel", "-l", "INFO", "--without-mingle", "--without-gossip"),
        ),
        ready="{worker}@push_readmodel ready.",
    )


design = Design(
    name="push_readmodel",
    summary="schedule() writes a read model in the caller's transaction; workers drain it FOR UPDATE SKIP LOCKED",
    weakness="the part of a batch that a crashed worker had delivered is delivered again: 50 ms of deliveries, at most "
    f"{MAX_BATCH_ROWS}",
    guarantees=Guarantees(delivery="at_least_once", transactional=True, cancels=True),
    roles=[worker_role("push_readmodel.worker")],
    install=install,
    install_partitioned=install_partitioned,
    scheduler=lambda settings: ReadModelScheduler(settings.schedule_wait),
    pending=still_pending,
    status=status,
    check_environment=DrainSettings.from_environment,
    given_up=FailedNotifications(),
    check_can_migrate=check_can_migrate,
    migrate=migrate,
)
