"""The queue's signs of life, left by its consumer: the part that holds the connection to the broker."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from celery import Celery, bootsteps
from celery.worker import state

from duetime.runtime.heartbeat import Heartbeat, heartbeat_from
from duetime.settings import Settings

EVERY_S = 2.0
LONGEST_S = 30.0
"""A task that has run for longer is taken for one that hangs."""


class HeartbeatStep(bootsteps.StartStopStep):
    """Beats by the worker's own event loop, from one connection to the broker until the next.

    A loop that stands still beats no more. Nor does one whose broker only keeps silent: every two seconds a worker
    publishes an event, and waits in its loop for the broker to take it.
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
            type(self).heartbeat.beat("found its broker connected and its pool getting on", again_within_s=EVERY_S)


def is_progressing(began_s: Iterable[float], *, processes: int, now_s: float) -> bool:
    """Whether some of the pool's `processes` is free, or began its task a short while ago.

    began_s: when each task under way began, in seconds since 1970, as Celery keeps it.
    """
    return sum(now_s - began > LONGEST_S for began in began_s) < processes


def add_heartbeat(app: Celery, settings: Settings) -> None:
    """Let `app`'s workers leave signs of life, if anybody looks for them; in a run nobody does."""
    if settings.heartbeat:
        app.steps["consumer"].add(type("HeartbeatStep", (HeartbeatStep,), {"heartbeat": heartbeat_from(settings)}))
