"""What the naive poller is, what it promises, and the processes it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from duetime.app.tables import Event, Participation
from duetime.interface import Design, Guarantees, Pending, Role, Status
from duetime.settings import Settings
from pull_worker.migrate import check_can_migrate, migrate
from pull_worker.scheduler import NothingToSchedule


def install(_engine: Engine) -> None:
    """Nothing: the application's own tables are all that a poller needs, which is what people like about it."""


def pending(_settings: Settings, _engine: Engine) -> Sequence[Pending]:
    """Nothing: a poller keeps no record of what is still to come, and none of what it has done."""
    return []


def status(settings: Settings, engine: Engine) -> Status:
    """A query over the main table: what lies ahead, and nothing of what should have been sent by now."""
    ahead = (
        select(func.count().label("pending"), func.min(Event.starts_at).label("first"))
        .join(Participation, Participation.event_id == Event.id)
        .where(Event.starts_at > func.now() + settings.reminder_lead)
        .where(Event.status == "scheduled", Participation.status == "going")
    )
    with Session(engine) as session:
        row = session.execute(ahead).one()
    return Status(
        pending=row.pending,
        oldest_due_at=row.first - settings.reminder_lead if row.first else None,
        note="reminders that are still ahead, counted in the main tables; whether what was due was sent, no row says",
    )


def serving(app: str) -> Role:
    """A server that runs `app` with a beat of its own."""
    return Role(
        name="worker",
        argv=(
            *(sys.executable, "-m", "celery", "-A", app, "worker"),
            # -B: a beat in every server, the way a worker's start-up command is usually copied from host to host.
            *("-B", "-s", "{state}/beat-schedule"),
            *("-n", "{worker}@pull_worker", "-c", "2", "-l", "INFO", "--without-mingle", "--without-gossip"),
        ),
        ready="{worker}@pull_worker ready.",
    )


design = Design(
    name="pull_worker",
    summary="each server's Celery beat polls the events table for what starts in one lead time",
    weakness="what no poll saw is never sent; what two polls saw is sent twice",
    guarantees=Guarantees(delivery="nothing", transactional=True, cancels=True, due_by="workers"),
    roles=[serving("pull_worker.celeryapp")],
    install=install,
    scheduler=lambda _settings: NothingToSchedule(),
    pending=pending,
    status=status,
    migrate=migrate,
    check_can_migrate=check_can_migrate,
    migration_refusal="a poll looks at the window that ends now, wherever another design has got to, so at the seam it "
    "repeats what that one has just delivered, or leaves out what it has not; and its schedule() takes nothing over: "
    "what is pending elsewhere and is not in the main tables would be gone",
)
