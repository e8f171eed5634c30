"""Variant: each poll begins where the last successful one ended, so downtime loses nothing any more."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, DateTime, Engine, Integer, MetaData, Table, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from duetime.interface import MigrationTarget
from duetime.runtime.gateway import Gateway
from duetime.settings import Settings
from pull_worker.design import design as naive
from pull_worker.design import serving
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

    A poll that fails leaves the watermark where it was: the next one delivers all of it again. Nothing is locked, as
    in most of its kind: two polls at the same time, of two servers or of one that is slow, read the same watermark.
    """
    until = now + lead
    since = session.scalar(select(watermark.c.polled_until)) or until - interval
    # Both ends included, as in the naive poll; the microsecond keeps the last one's end from being delivered again.
    looked_at = Window(since + timedelta(microseconds=1), until)
    found = becoming_due(session, looked_at, lead=lead, time_scale=time_scale)
    for notification in found:
        gateway.deliver(notification)
    move_watermark(session, until)
    session.commit()
    log.info("poll window=%s/%s delivered=%d", since.isoformat(), until.isoformat(), len(found))
    return looked_at


def move_watermark(session: Session, until: datetime) -> None:
    """Never backwards: a poll that ends last may have begun first."""
    upsert = insert(watermark).values(id=1, polled_until=until)
    latest = func.greatest(watermark.c.polled_until, upsert.excluded.polled_until)
    session.execute(upsert.on_conflict_do_update(index_elements=["id"], set_={"polled_until": latest}))


def migrate_from_watermark(settings: Settings, engine: Engine, to: MigrationTarget, since: datetime | None) -> int:
    """This one knows where its last poll ended."""
    with engine.connect() as connection:
        return migrate(settings, engine, to, connection.scalar(select(watermark.c.polled_until)) or since)


def check_watermark_can_migrate(settings: Settings, _since: datetime | None) -> None:
    check_can_migrate(settings, datetime.now(UTC))


def install(engine: Engine) -> None:
    """Create the table of one row."""
    metadata.create_all(engine)


design = replace(
    naive,
    name="pull_worker:watermark",
    summary="each server's beat polls the events table for what starts between the last poll and one lead from now",
    weakness="what is created or moved into a window that has passed is never sent, one poll that fails repeats all "
    "of its window until it succeeds, and polls that overlap, of two servers or of a slow one, repeat each other",
    roles=[serving("pull_worker.variants.watermark_app")],
    install=install,
    migrate=migrate_from_watermark,
    check_can_migrate=check_watermark_can_migrate,
)
