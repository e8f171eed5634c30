"""The naive poller: its guarantees, its processes, and what it knows of its own state."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from duetime.app.tables import Event, Participation
from duetime.clock import utc
from duetime.interface import Design, Guarantees, Pending, Role, Status
from duetime.settings import Settings
from pull_worker.migrate import check_can_migrate, migrate
from pull_worker.scheduler import NothingToSchedule


def install(_engine: Engine) -> None:
    """Create nothing: a poller needs only the application's tables."""


def pending(_settings: Settings, _engine: Engine) -> Sequence[Pending]:
    """Return nothing: a poller keeps no record of what is still ahead, and none of what it has done."""
    return []


def status(settings: Settings, engine: Engine) -> Status:
    """Count the reminders that are still ahead, in the main tables. Missed reminders are in no table."""
    # In seconds, because the days of an interval are those of the session's time zone.
    lead = func.make_interval(0, 0, 0, 0, 0, 0, settings.reminder_lead.total_seconds())
    ahead = (
        select(func.count().label("pending"), func.min(Event.starts_at).label("first"))
        .join(Participation, Participation.event_id == Event.id)
        .where(Event.starts_at > func.now() + lead)
        .where(Event.status == "scheduled", Participation.status == "going")
    )
    with Session(engine) as session:
        row = session.execute(ahead).one()
    return Status(
        pending=row.pending,
        oldest_due_at=utc(row.first) - settings.reminder_lead if row.first else None,
        note="reminders that are still ahead, counted in the main tables; no row says whether those that were due "
        "have been sent",
    )


def worker_role(module: str) -> Role:
    """Return the role of a worker that runs the application in `module`, with a beat of its own."""
    return Role(
        name="worker",
        argv=(
            *(sys.executable, "-m", "celery", "-A", module, "worker"),
            # -B: a beat in every worker, as happens when a start command is copied from host to host.
            *("-B", "-s", "{state}/beat-schedule"),
            *("-n", "{worker}@pull_worker", "-c", "2", "-l", "INFO", "--without-mingle", "--without-gossip"),
        ),
        ready="{worker}@pull_worker ready.",
    )


design = Design(
    name="pull_worker",
    summary="each worker's Celery beat polls the events table for what starts in one lead time",
    weakness="a notification whose window no poll covers is missed; one that two polls cover is delivered twice",
    guarantees=Guarantees(delivery="nothing", transactional=True, cancels=False, due_by="workers"),
    roles=[worker_role("pull_worker.worker")],
    install=install,
    scheduler=lambda _settings: NothingToSchedule(),
    client_packages=("Celery",),
    pending=pending,
    status=status,
    migrate=migrate,
    check_can_migrate=check_can_migrate,
    migrates_stopped=True,
    migration_refusal="a poll looks at the window that ends now, however far the old design got, so it repeats what "
    "the old design has just delivered, or leaves out what it has not; and its schedule() stores nothing: pending "
    "notifications of the old design that are not in the main tables would be lost",
)
