"""The Celery side of the staged queue: a task without ETA, and a step of the worker that stages in a thread."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import cache
from typing import Any

from celery import Celery, bootsteps
from celery.signals import worker_process_init
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import OperationalError

from duetime.runtime.effects import effects_from
from duetime.runtime.gateway import JournalGateway, gateway_from
from duetime.settings import Settings
from oban_style_queue.design import QUEUE
from oban_style_queue.heartbeat import add_heartbeat
from oban_style_queue.variants.staged import Stager, execute

settings = Settings.from_environment()
app = Celery("oban_style_queue", broker=settings.broker_url)
app.conf.update(settings.celery_events, task_default_queue=QUEUE)
add_heartbeat(app, settings)


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
    name="oban_style_queue.execute",
    ignore_result=True,
    shared=False,
    # A database that is away for a moment: rather than wait for the rescue, ask again after 1, 2, 4 … seconds.
    autoretry_for=(OperationalError,),
    retry_backoff=True,
    retry_jitter=False,
    max_retries=None,
)
def run(job: int) -> None:
    """A shell around ``execute``."""
    execute(engine(), gateway(), job, effects=effects)


class StagerStep(bootsteps.StartStopStep):
    """Starts with the worker and stops with it."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        # An engine of its own: the pool's processes are forked from this one.
        self._stager = Stager(create_engine(settings.database_url), run.delay, rescue_after=settings.rescue_after)
        self._thread = threading.Thread(target=self._stager.run, name="stager", daemon=True)

    def start(self, _parent: Any) -> None:
        self._thread.start()

    def stop(self, _parent: Any) -> None:
        self._stager.stop()
        self._thread.join(timeout=10)


app.steps["worker"].add(StagerStep)
