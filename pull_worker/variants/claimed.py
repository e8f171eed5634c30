"""Variant: each delivery is recorded under a unique key, so a second worker does not duplicate it."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Column, DateTime, Integer, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from duetime.interface import Notification
from duetime.runtime.gateway import Gateway
from pull_worker.design import design as naive
from pull_worker.design import worker_role
from pull_worker.poll import Window, becoming_due, window

log = logging.getLogger(__name__)

metadata = MetaData()
sent = Table(
    "sent_reminders",
    metadata,
    Column("key", Text, primary_key=True),
    Column("revision", Integer, primary_key=True),
    # For a cleanup job of the operator: nothing here removes a row.
    Column("sent_at", DateTime(timezone=True), server_default=func.clock_timestamp()),
)


def poll_and_claim(
    session: Session, gateway: Gateway, *, now: datetime, lead: timedelta, interval: timedelta, time_scale: float = 1.0
) -> Window:
    """Deliver what becomes due in this poll's window and is not sent yet, and return the window.

    One transaction per notification: a delivery that fails rolls its claim back and ends the poll.
    """
    polled = window(now, lead=lead, interval=interval)
    notifications = becoming_due(session, polled, lead=lead, time_scale=time_scale)
    session.commit()
    log.info("poll window=%s/%s found=%d", *(end.isoformat() for end in polled), len(notifications))
    for notification in notifications:
        if claim(session, notification):
            gateway.deliver(notification)
        session.commit()
    return polled


def claim(session: Session, notification: Notification) -> bool:
    """Record `notification` as sent. Returns False if it already was; waits for a worker that is delivering it."""
    row = insert(sent).values(key=notification.key, revision=notification.revision)
    return session.execute(row.on_conflict_do_nothing().returning(sent.c.key)).one_or_none() is not None


design = replace(
    naive,
    name="pull_worker:claimed",
    summary="each worker's beat polls the events table, and a log of what was sent with a unique key keeps it from "
    "being sent twice",
    weakness="a notification whose window no poll covers is still missed, and the log grows by a row for every "
    "notification",
    roles=[worker_role("pull_worker.variants.claimed_worker")],
    install=metadata.create_all,
)
