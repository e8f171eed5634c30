"""Variant: each poll begins where the last successful one ended, so downtime loses nothing."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, DateTime, Engine, Integer, MetaData, Table, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from duetime.clock import utc
from duetime.interface import MigrationTarget
from duetime.runtime.gateway import Gateway
from duetime.settings import Settings
from pull_worker.design import design as naive
from pull_worker.design import worker_role
from pull_worker.migrate import check_can_migrate, migrate
from pull_worker.poll import Window, becoming_due

log = logging.getLogger(__name__)

metadata = MetaData()
watermark = Table(
    "poll_watermark",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("polled_until", DateTime(timezone=True), nullable=False),
)


def poll_since_watermark(
    session: Session, gateway: Gateway, *, now: datetime, lead: timedelta, interval: timedelta, time_scale: float = 1.0
) -> Window:
    """Deliver what starts between the last poll's end and a lead time from `now`, and return that window.

    A poll that fails leaves the watermark unchanged, so the next poll delivers the whole window again. Nothing is
    locked, as is usual: two polls at the same time, of two workers or of a slow one, read the same watermark.
    """
    until = utc(now) + lead
    since = session.scalar(select(watermark.c.polled_until)) or until - interval
    # Both ends of a window are included; the microsecond keeps the last poll's end from being delivered again.
    window = Window(utc(since) + timedelta(microseconds=1), until)
    notifications = becoming_due(session, window, lead=lead, time_scale=time_scale)
    for notification in notifications:
        gateway.deliver(notification)
    move_watermark(session, until)
    session.commit()
    log.info("poll window=%s/%s delivered=%d", since.isoformat(), until.isoformat(), len(notifications))
    return window


def move_watermark(session: Session, until: datetime) -> None:
    """Move the watermark to `until`, but never backwards: polls may end in another order than they began."""
    upsert = insert(watermark).values(id=1, polled_until=until)
    latest = func.greatest(watermark.c.polled_until, upsert.excluded.polled_until)
    session.execute(upsert.on_conflict_do_update(index_elements=["id"], set_={"polled_until": latest}))


def migrate_from_watermark(settings: Settings, engine: Engine, target: MigrationTarget, since: datetime | None) -> int:
    """Migrate from the watermark; `since` is only for a table without one."""
    with engine.connect() as connection:
        return migrate(settings, engine, target, connection.scalar(select(watermark.c.polled_until)) or since)


def check_watermark_can_migrate(settings: Settings, _since: datetime | None) -> None:
    """Check that no poller is running; `since` is not needed."""
    check_can_migrate(settings, datetime.now(UTC))


design = replace(
    naive,
    name="pull_worker:watermark",
    summary="each worker's beat polls the events table for what starts between the end of the last window and one lead "
    "time from now",
    weakness="what is created or moved into a window that has passed is never sent, one poll that fails repeats all "
    "of its window until it succeeds, and polls that overlap, of two workers or of a slow one, repeat each other",
    roles=[worker_role("pull_worker.variants.watermark_worker")],
    install=metadata.create_all,
    migrate=migrate_from_watermark,
    check_can_migrate=check_watermark_can_migrate,
)
