"""Variant: `hardened` with Celery's soft shutdown, which returns tasks to the broker before a deploy's grace is over.

After SIGTERM a worker waits for its running tasks, but no longer than the timeout. Then it cancels them and returns
their messages, with those of the ETA tasks in its memory, so another worker has them at once instead of after the
visibility timeout.
"""

from __future__ import annotations

from dataclasses import replace

from celery import Celery

from duetime.settings import Settings
from oban_style_queue.celeryapp import DELIVER
from oban_style_queue.design import worker_role
from oban_style_queue.variants import hardened

SOFT_SHUTDOWN_S = 1.0
"""Must be shorter than the grace of the deploy, by what the end of the pool takes: about 1 s, and 0.5 s a process."""
role = worker_role("oban_style_queue.variants.soft_shutdown_worker")


def make_app(settings: Settings) -> Celery:
    """Return the application of `hardened`, with a soft shutdown."""
    app = hardened.make_app(settings)
    app.conf.worker_soft_shutdown_timeout = SOFT_SHUTDOWN_S
    # Otherwise a worker without a running task skips it, also if it has ETA tasks in memory.
    app.conf.worker_enable_soft_shutdown_on_idle = True
    return app


design = replace(
    hardened.design,
    name="oban_style_queue:soft_shutdown",
    summary="oban_style_queue:hardened whose workers return their tasks to the broker before the grace is over",
    weakness="as oban_style_queue:hardened; a delivery that the shutdown cuts off may have arrived, and comes again",
    # Without it Celery handles SIGTERM as a warm shutdown, which waits for running tasks without limit.
    roles=[replace(role, environment={"REMAP_SIGTERM": "SIGQUIT"})],
    scheduler=lambda settings: hardened.HardenedQueue(make_app(settings).tasks[DELIVER], settings.schedule_wait),
)
