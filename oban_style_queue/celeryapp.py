"""The queue's Celery application. Everything but the queue's name is Celery's default."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from typing import Any

from celery import Celery, Task
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import OperationalError

from duetime.interface import Notification
from duetime.runtime.broker import check_broker
from duetime.runtime.effects import effects_from
from duetime.runtime.gateway import JournalGateway, gateway_from
from duetime.settings import Settings
from oban_style_queue.broker import QUEUE
from oban_style_queue.deliver import deliver_one
from oban_style_queue.heartbeat import add_heartbeat

DELIVER = "oban_style_queue.deliver"
"""The name of the task that delivers one notification."""
CELERYS_VISIBILITY_TIMEOUT = timedelta(hours=1)


class Connections:
    """What a pool process delivers with, opened at first use: connections do not survive a fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.effects = effects_from(settings)

    @cached_property
    def gateway(self) -> JournalGateway:
        return gateway_from(self._settings)

    @cached_property
    def engine(self) -> Engine:
        # Pre-ping, because the connections do not survive a restart of the database server. The isolation, because
        # with a stricter one, which may be the server's default, two workers that meet fail instead of waiting.
        return create_engine(
            self._settings.database_url,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            connect_args=self._settings.driver_options,
        )

    def open(self, **_signal: object) -> None:
        """Open both, so that the first delivery does not wait; a receiver of ``worker_process_init``."""
        _ = self.gateway
        with suppress(OperationalError):
            self.engine.connect().close()


def new_app(settings: Settings) -> Celery:
    """Return an application without tasks, on this package's queue."""
    app = Celery(QUEUE, broker=settings.broker_url)
    check_broker(app, settings)
    app.conf.update(settings.celery_events, task_default_queue=QUEUE, broker_transport_options=settings.broker_options)
    add_heartbeat(app, settings)
    return app


def make_app(settings: Settings) -> Celery:
    """Return the application of the plain queue: acknowledged before execution, no retries, no results."""
    app = new_app(settings)
    if settings.visibility_timeout < CELERYS_VISIBILITY_TIMEOUT:
        # For runs about the time after the visibility timeout, which cannot wait for an hour and then for kombu's
        # search, every 100 s. Both are documented options; other runs set neither.
        app.conf.broker_transport_options = {
            **settings.broker_options,
            "visibility_timeout": settings.visibility_timeout.total_seconds(),
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        }
    connections = Connections(settings)

    # Not shared: a shared task is added to every Celery application of the process.
    @app.task(name=DELIVER, bind=True, ignore_result=True, shared=False)
    def deliver(self: Task[..., Any], notification: dict[str, Any]) -> None:
        """Call ``deliver_one``."""
        deliver_one(
            connections.gateway,
            Notification.from_stored_json(notification),
            retries=self.request.retries,
            effects=connections.effects,
            engine=lambda: connections.engine,
        )

    return app
