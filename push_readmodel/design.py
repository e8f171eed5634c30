"""The design: its guarantees and the worker processes that it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sqlalchemy import Engine, select

from duetime.interface import Design, Guarantees, Pending, Role
from duetime.settings import Settings
from push_readmodel.drain_settings import MAX_BATCH_ROWS
from push_readmodel.migrate import migrate
from push_readmodel.partitions import install_partitioned
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata, pending
from push_readmodel.status import status


def install(engine: Engine) -> None:
    """Create the read model's table."""
    metadata.create_all(engine)


def still_pending(_settings: Settings, engine: Engine) -> Sequence[Pending]:
    """Return the rows that no drain has deleted."""
    with engine.connect() as connection:
        rows = connection.execute(select(pending.c.key, pending.c.revision, pending.c.attempts)).all()
    return [
        Pending(f"{row.key}/{row.revision}", f"row in pending_notifications after {row.attempts} failed attempts")
        for row in rows
    ]


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
    scheduler=lambda _settings: ReadModelScheduler(),
    pending=still_pending,
    status=status,
    migrate=migrate,
)
