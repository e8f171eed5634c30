"""The poller's Celery side: one periodic task, and beat to send it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from celery import Celery
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from duetime.clock import system_clock
from duetime.gateway import JournalGateway, gateway_from
from duetime.settings import Settings
from pull_worker.deliver import poll

settings = Settings.from_environment()

Poll = Callable[..., int]
"""``poll``, or what a variant has in its place."""


def polling(name: str, poll: Poll) -> Celery:
    """An app whose beat runs `poll` every interval."""
    app = Celery(name, broker=settings.broker_url)
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
            poll(
                session,
                gateway(),
                now=system_clock(),
                lead=settings.reminder_lead,
                interval=settings.poll_interval,
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
