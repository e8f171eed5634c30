"""Variant: who delivers first writes it down under a unique key, so a second server no longer repeats."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Column, DateTime, Engine, Integer, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from duetime.interface import Notification
from duetime.runtime.gateway import Gateway
from pull_worker.design import design as naive
from pull_worker.design import serving
from pull_worker.poll import Window, becoming_due, window

log = logging.getLogger(__name__)

metadata = MetaData()
sent = Table(
    "sent_reminders",
    metadata,
    Column("key", Text, primary_key=True),
    Column("revision", Integer, primary_key=True),
    # For whoever has to tidy up: nothing else removes a row.
    Column("sent_at", DateTime(timezone=True), server_default=func.clock_timestamp()),
)


def poll_and_claim(
    session: Session, gateway: Gateway, *, now: datetime, lead: timedelta, interval: timedelta, time_scale: float = 1.0
) -> Window:
    """Deliver what this poll's window holds and no worker has delivered yet, and return the window.

    One transaction a notification: a delivery that fails takes its claim back with it, and the poll with it.
    """
    looked_at = window(now, lead=lead, interval=interval)
    due = becoming_due(session, looked_at, lead=lead, time_scale=time_scale)
    session.commit()
    log.info("poll window=%s/%s found=%d", *(end.isoformat() for end in looked_at), len(due))
    for notification in due:
        if claim(session, notification):
            gateway.deliver(notification)
        session.commit()
    return looked_at


def claim(session: Session, notification: Notification) -> bool:
    """Whether this revision is ours to deliver. Waits for another server that is delivering it right now."""
    mine = insert(sent).values(key=notification.key, revision=notification.revision)
    return session.execute(mine.on_conflict_do_nothing().returning(sent.c.key)).one_or_none() is not None


def install(engine: Engine) -> None:
    """Create the log of what was sent."""
    metadata.create_all(engine)


design = replace(
    naive,
    name="pull_worker:claimed",
    summary="each server's beat polls the events table, and a log of what was sent with a unique key keeps it from "
    "being sent twice",
    weakness="what no poll saw is still never sent, and the log grows by a row for every notification",
    roles=[serving("pull_worker.variants.claimed_app")],
    install=install,
)
