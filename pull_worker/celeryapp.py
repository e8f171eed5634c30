"""The poller's Celery side: one periodic task, and beat to send it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from celery import Celery
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from duetime.clock import system_clock
from duetime.runtime.effects import effects_from
from duetime.runtime.gateway import JournalGateway, gateway_from
from duetime.runtime.heartbeat import heartbeat_from
from duetime.settings import Settings
from pull_worker.follow_ups import settle_overdue
from pull_worker.poll import Window, poll

settings = Settings.from_environment()
heartbeat = heartbeat_from(settings)
effects = effects_from(settings)

Poll = Callable[..., Window]
"""``poll``, or what a variant has in its place."""


def polling(name: str, poll: Poll) -> Celery:
    """An app whose beat runs `poll` every interval."""
    app = Celery(name, broker=settings.broker_url)
    # A queue of its own, so that other designs may use the same broker; it and the schedule are all that is set.
    app.conf.update(settings.celery_events, task_default_queue=name)
    app.conf.beat_schedule = {
        "poll": {
            "task": "pull_worker.poll",
            "schedule": settings.poll_interval,
            # By the clock, as a crontab does it: at whole multiples of the interval rather than since beat's start.
            "relative": True,
            # No "expires": the documented entry has none.
        }
    }

    # shared: or every app of this process would get it, and a variant the naive poll under the same name.
    @app.task(name="pull_worker.poll", ignore_result=True, shared=False)
    def run_poll() -> None:
        """A shell around `poll`."""
        with Session(engine()) as session:
            # Before anything is delivered: a recipient that is refused ends the poll.
            settle_overdue(session, effects, now=system_clock(), time_scale=settings.time_scale)
            polled = poll(
                session,
                gateway(),
                now=system_clock(),
                lead=settings.reminder_lead,
                interval=settings.poll_interval,
                time_scale=settings.time_scale,
            )
        # Twice: each server's beat sends a tick, and now and then one server takes two of them and another none.
        heartbeat.beat(
            "finished a poll",
            again_within_s=2 * settings.poll_interval.total_seconds(),
            reached=polled.starts_until.isoformat(),
        )

    return app


@cache
def engine() -> Engine:
    """One engine in each pool process: connections do not survive a fork, nor all of them a restart of the database."""
    return create_engine(settings.database_url, pool_pre_ping=True)


@cache
def gateway() -> JournalGateway:
    return gateway_from(settings)


app = polling("pull_worker", poll)
