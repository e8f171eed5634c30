"""Moves pending notifications to another design: out of the broker, and out of the workers' memory."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from celery import Celery
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.clock import system_clock
from duetime.interface import MigrationTarget
from duetime.runtime.broker import broker_client
from duetime.settings import Settings
from oban_style_queue.broker import QUEUE, messages, remove
from oban_style_queue.celeryapp import make_app

log = logging.getLogger(__name__)

SOON = timedelta(seconds=4)
"""Notifications due by then are left to this design's workers: two questions to them and one batch take that long."""
REPLY_WITHIN_S = 1.0
BATCH_SIZE = 200
"""Few enough to be scheduled in the one or two seconds that the questions leave."""


def migrate(settings: Settings, engine: Engine, target: MigrationTarget, _since: datetime | None) -> int:
    """Schedule messages that are not due soon in `target`, revoke them, and remove them from the broker.

    The three stores share no transaction. In this order a crash leads to the same steps again, before the due time.
    Cancelled messages are still in the broker, so the workers are asked first which ones they have revoked.
    """
    moved = 0
    with (
        make_app(settings) as app,
        broker_client(settings, decode_responses=True) as broker,
        Session(engine) as session,
    ):
        while batch := [one for one in messages(broker) if one.notification.due_at > system_clock() + SOON][
            :BATCH_SIZE
        ]:
            workers = running_workers(app)
            cancelled = revoked(app, workers)
            for message in batch:
                if message.notification.op not in cancelled:
                    moved += target.accept_if_unchanged(message.notification, session=session)
                    session.commit()
            if not revoke(app, workers, [message.notification.op for message in batch]):
                return moved
            # Or a worker that starts later, and knows of no revoke, delivers them as well.
            remove(broker, batch)
    return moved


def running_workers(app: Celery) -> set[str]:
    """Return the names of this design's workers that answer a ping."""
    replies = app.control.ping(timeout=REPLY_WITHIN_S) or ()
    return {name for reply in replies for name in reply if name.endswith(f"@{QUEUE}")}


def revoked(app: Celery, workers: Collection[str]) -> set[str]:
    """Return the ids of the tasks that at least one of `workers` has revoked."""
    if not workers:
        return set()
    inspect = app.control.inspect(sorted(workers), timeout=REPLY_WITHIN_S, limit=len(workers))
    replies = inspect.revoked() or {}
    return {task_id for task_ids in replies.values() for task_id in task_ids}


def revoke(app: Celery, workers: Collection[str], task_ids: Sequence[str]) -> bool:
    """Revoke the tasks at every one of `workers`. Returns True if all of them confirmed it."""
    if not workers:
        return True
    replies = app.control.revoke(
        list(task_ids), reply=True, timeout=REPLY_WITHIN_S, destination=sorted(workers), limit=len(workers)
    )
    missing = set(workers) - {name for reply in replies or () for name in reply}
    if missing:
        log.warning("no answer from %s; its messages are tried again", ", ".join(sorted(missing)))
    return not missing
