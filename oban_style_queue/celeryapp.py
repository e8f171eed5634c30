"""The queue's Celery side. Every setting is Celery's default: acks before execution, no retries, no result."""

from __future__ import annotations

from functools import cache
from typing import Any

from celery import Celery, Task

from duetime.gateway import JournalGateway, gateway_from
from duetime.interface import Notification
from duetime.settings import Settings
from oban_style_queue.deliver import deliver_one

settings = Settings.from_environment()
app = Celery("oban_style_queue", broker=settings.broker_url)


@cache
def gateway() -> JournalGateway:
    return gateway_from(settings)


@app.task(name="oban_style_queue.deliver", bind=True, ignore_result=True)
def deliver(self: Task[..., Any], notification: dict[str, Any]) -> None:
    """A shell around ``deliver_one``."""
    deliver_one(gateway(), Notification.from_json(notification), retries=self.request.retries)
