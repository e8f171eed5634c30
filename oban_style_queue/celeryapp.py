"""The queue's Celery side. All but its name is Celery's default: acks before execution, no retries, no result."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from celery import Celery, Task
from sqlalchemy import Engine, create_engine

from duetime.interface import Notification
from duetime.runtime.effects import effects_from
from duetime.runtime.gateway import JournalGateway, gateway_from
from duetime.settings import Settings
from oban_style_queue.deliver import deliver_one
from oban_style_queue.design import QUEUE
from oban_style_queue.heartbeat import add_heartbeat

settings = Settings.from_environment()
app = Celery("oban_style_queue", broker=settings.broker_url)
# So that other designs may use the same broker.
app.conf.update(settings.celery_events, task_default_queue=QUEUE)
add_heartbeat(app, settings)
if settings.visibility_timeout < timedelta(hours=1):
    # A run about what happens beyond the visibility timeout cannot wait for an hour and then for kombu's sweep, which
    # comes every 100 s. These are the documented knobs for both; in every other run nothing is set.
    app.conf.broker_transport_options = {
        "visibility_timeout": settings.visibility_timeout.total_seconds(),
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }


@cache
def gateway() -> JournalGateway:
    return gateway_from(settings)


@cache
def engine() -> Engine:
    """Only for effects inside the application's database; one in each pool process."""
    return create_engine(settings.database_url, pool_pre_ping=True)


effects = effects_from(settings)


# Not shared: or every other app of the process would get it.
@app.task(name="oban_style_queue.deliver", bind=True, ignore_result=True, shared=False)
def deliver(self: Task[..., Any], notification: dict[str, Any]) -> None:
    """A shell around ``deliver_one``."""
    deliver_one(
        gateway(),
        Notification.from_json(notification),
        retries=self.request.retries,
        effects=effects,
        engine=engine,
    )
