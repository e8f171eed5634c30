"""The worker's heartbeat, for `duetime health`, written by its consumer: the part that is connected to the broker."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from celery import Celery, bootsteps
from celery.worker import state

from duetime.runtime.heartbeat import Heartbeat, heartbeat_from
from duetime.settings import Settings

EVERY_S = 2.0
HANGING_AFTER_S = 30.0
"""A task that has run for longer counts as hanging."""


class HeartbeatStep(bootsteps.StartStopStep):
    """Beats in the worker's event loop while it is connected to the broker.

    The heartbeat stops if the loop is blocked, and also if the broker is silent: every two seconds the worker
    publishes an event, and its loop waits until the broker accepts it.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    heartbeat: Heartbeat

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        self._beat(consumer)
        self._timer = consumer.timer.call_repeatedly(EVERY_S, self._beat, (consumer,))

    def stop(self, _consumer: Any) -> None:
        if self._timer:
            self._timer.cancel()

    def _beat(self, consumer: Any) -> None:
        began_s = [request.time_start for request in state.active_requests]
        if is_progressing(began_s, processes=consumer.pool.num_processes, now_s=time.time()):
            self.heartbeat.beat("found its broker connected and its pool progressing", again_within_s=EVERY_S)


def is_progressing(began_s: Iterable[float], *, processes: int, now_s: float) -> bool:
    """Return True if at least one of the pool's `processes` is free, or began its task recently.

    began_s: when each running task began, in seconds since 1970, as Celery keeps it.
    """
    return sum(now_s - began > HANGING_AFTER_S for began in began_s) < processes


def add_heartbeat(app: Celery, settings: Settings) -> None:
    """Add the heartbeat to the workers of `app` if the settings name a file for it."""
    if settings.heartbeat:
        app.steps["consumer"].add(type("HeartbeatStep", (HeartbeatStep,), {"heartbeat": heartbeat_from(settings)}))
