"""The poller's Celery application: one periodic task, which beat sends."""

from __future__ import annotations

from functools import cached_property

from celery import Celery
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.clock import system_clock
from duetime.runtime.broker import check_broker
from duetime.runtime.database import application_engine
from duetime.runtime.effects import effects_from
from duetime.runtime.gateway import JournalGateway, gateway_from
from duetime.runtime.heartbeat import heartbeat_from
from duetime.settings import Settings
from pull_worker.follow_ups import settle_overdue
from pull_worker.poll import Poll


class Connections:
    """What a pool process polls with, opened at first use: connections do not survive a fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def gateway(self) -> JournalGateway:
        return gateway_from(self._settings)

    @cached_property
    def engine(self) -> Engine:
        # Pre-ping, because the pool's connections do not survive a restart of the database server.
        return application_engine(self._settings, pool_pre_ping=True)


def make_app(settings: Settings, poll: Poll) -> Celery:
    """Return an application whose beat runs `poll` every interval."""
    app = Celery("pull_worker", broker=settings.broker_url)
    check_broker(app, settings)
    # A queue of its own, so that other designs may share the broker. It and the schedule are all that is set.
    app.conf.update(
        settings.celery_events, task_default_queue="pull_worker", broker_transport_options=settings.broker_options
    )
    app.conf.beat_schedule = {
        "poll": {
            "task": "pull_worker.poll",
            "schedule": settings.poll_interval,
            # At whole multiples of the interval, like a crontab, rather than counted from beat's start.
            "relative": True,
            # No "expires", because the documented entry has none.
        }
    }
    connections = Connections(settings)
    effects = effects_from(settings)
    heartbeat = heartbeat_from(settings)

    # Not shared: a shared task is added to every Celery application of the process.
    @app.task(name="pull_worker.poll", ignore_result=True, shared=False)
    def run_poll() -> None:
        """Settle what is overdue inside the database, then poll."""
        with Session(connections.engine) as session:
            # Before the poll, because a refused delivery ends the task.
            settle_overdue(session, effects, now=system_clock(), time_scale=settings.time_scale)
            window = poll(
                session,
                connections.gateway,
                now=system_clock(),
                lead=settings.reminder_lead,
                interval=settings.poll_interval,
                time_scale=settings.time_scale,
            )
        heartbeat.beat(
            "finished a poll",
            # Two intervals, because a worker may receive two ticks at once and another worker none.
            again_within_s=2 * settings.poll_interval.total_seconds(),
            reached=window.starts_until.isoformat(),
        )

    return app
