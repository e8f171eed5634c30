"""The Celery side of the hardened queue: each setting that is not Celery's default, and why."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_init
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import OperationalError

from duetime.interface import Notification
from duetime.runtime.effects import effects_from
from duetime.runtime.gateway import JournalGateway, gateway_from
from duetime.settings import Settings
from oban_style_queue.design import QUEUE
from oban_style_queue.heartbeat import add_heartbeat
from oban_style_queue.variants.hardened import deliver_if_wanted

settings = Settings.from_environment()
app = Celery("oban_style_queue", broker=settings.broker_url)
app.conf.update(settings.celery_events, task_default_queue=QUEUE)
add_heartbeat(app, settings)
# A worker that dies in the middle of a task has not acknowledged it.
app.conf.task_acks_late = True
# Nor has one of whose pool a process was killed.
app.conf.task_reject_on_worker_lost = True
app.conf.broker_transport_options = {
    # What a dead worker held comes back after five minutes instead of an hour. Shorter than most horizons, so copies
    # of the message pile up in memory; the row makes them harmless.
    "visibility_timeout": settings.rescue_after.total_seconds(),
    # Look for such messages every second instead of every 100 s.
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    # A worker that dies in the middle of that look leaves its lock behind, for five minutes unless told otherwise.
    "unacked_mutex_expire": max(1, int(settings.rescue_after.total_seconds())),
}


@cache
def engine() -> Engine:
    """One engine in each pool process: connections do not survive a fork, nor all of them a restart of the database."""
    return create_engine(settings.database_url, pool_pre_ping=True)


@cache
def gateway() -> JournalGateway:
    return gateway_from(settings)


effects = effects_from(settings)


@worker_process_init.connect
def get_ready(**_: Any) -> None:
    """Open what deliveries need when the process starts, so that the first one does not wait for it."""
    gateway()
    with suppress(OperationalError):
        engine().connect().close()


@app.task(
    name="oban_style_queue.deliver",
    bind=True,
    ignore_result=True,
    shared=False,
    # Whatever goes wrong, try again after 1, 2, 4 … seconds, up to an hour, for ever.
    autoretry_for=(Exception,),
    retry_backoff=True,
    retry_backoff_max=3600,
    retry_jitter=False,
    max_retries=None,
)
def deliver(self: Task[..., Any], notification: dict[str, Any]) -> None:
    """A shell around ``deliver_if_wanted``."""
    deliver_if_wanted(
        engine(), gateway(), Notification.from_json(notification), retries=self.request.retries, effects=effects
    )
