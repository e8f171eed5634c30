"""The drain in a Celery worker: a bootstep that runs the loop in a thread, with or without a broker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from celery import Celery, bootsteps
from celery.worker import state
from sqlalchemy import create_engine

from duetime.errors import DuetimeError
from duetime.extras import needed_by
from duetime.runtime.broker import check_broker
from duetime.runtime.database import UTF8, application_engine
from duetime.runtime.effects import effects_from
from duetime.runtime.gateway import Gateway, gateway_from
from duetime.runtime.heartbeat import Heartbeat, heartbeat_from
from duetime.settings import Settings
from push_readmodel.connection import noticing
from push_readmodel.database_errors import ending
from push_readmodel.drain import Drain
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.flower_events import Failure, shown_in_flower

log = logging.getLogger(__name__)


class Loop(Protocol):
    """What a worker runs: a `DrainLoop`, or several of them (variants/sharded.py)."""

    def run(self) -> None: ...

    def stop(self) -> None: ...


class DrainStep(bootsteps.StartStopStep):
    """Starts and stops with the worker; a step of the consumer would stop whenever the broker is away."""

    requires = ("celery.worker.components:Pool",)

    make_loop: Callable[[Any], Loop]

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._loop = type(self).make_loop(parent)
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)

    def start(self, _parent: Any) -> None:
        self._thread.start()

    def stop(self, _parent: Any) -> None:
        self._loop.stop()
        self._thread.join(timeout=10)

    def info(self, _parent: Any) -> dict[str, Any]:  # type: ignore[override]  # the stub says None, Celery wants a dict
        return {"drain": {"alive": self._thread.is_alive()}}

    def _run(self) -> None:
        try:
            self._loop.run()
        except BaseException as error:
            if isinstance(error, DuetimeError):
                log.critical("ending the worker: %s", error)
            elif reason := ending(error):
                log.critical("ending the worker: %s: %s", reason, error)
            else:
                log.exception("ending the worker: the drain failed")
            state.should_stop = 70  # type: ignore[assignment]  # the stub knows only the initial None


def make_app(
    settings: Settings,
    drain_settings: DrainSettings,
    drain: type[Drain] = Drain,
    *,
    failure: Failure = "task-retried",
    make_loop: Callable[[Settings, DrainSettings, type[Drain], Gateway, Any], Loop] | None = None,
) -> Celery:
    """Return an app whose workers run `drain`. Flower shows a failed delivery as `failure`."""
    app = Celery("push_readmodel", broker=settings.broker_url)
    check_broker(app, settings)
    # A queue of its own, always empty: on a shared broker these workers receive no other design's tasks.
    app.conf.update(
        settings.celery_events,
        task_default_queue="push_readmodel",
        worker_concurrency=drain_settings.threads,
        broker_transport_options=settings.broker_options,
        # Or an error that the broker answers ends a worker whose drain needs no broker.
        broker_channel_error_retry=True,
    )

    def make(worker: Any) -> Loop:
        gateway = _make_gateway(settings, drain_settings, failure, worker)
        return (make_loop or make_drain_loop)(settings, drain_settings, drain, gateway, worker)

    app.steps["worker"].add(type("DrainStep", (DrainStep,), {"make_loop": staticmethod(make)}))
    return app


def _make_gateway(settings: Settings, drain_settings: DrainSettings, failure: Failure, worker: Any) -> Gateway:
    gateway: Gateway = gateway_from(settings)
    if drain_settings.metrics_port:
        with needed_by("DUETIME_METRICS_PORT"):
            from push_readmodel.metrics import metered

        gateway = metered(gateway, drain_settings.metrics_port, settings, application_engine(settings))
    if settings.watched:
        gateway = shown_in_flower(gateway, worker, failure=failure)
    return gateway


def make_drain_loop(
    settings: Settings,
    drain_settings: DrainSettings,
    drain: type[Drain],
    gateway: Gateway,
    worker: Any,
    heartbeat: Heartbeat | None = None,
) -> DrainLoop:
    """Return the loop of one database. heartbeat: by default the worker's."""
    options = {**noticing(drain_settings.vanished_after_s), **UTF8}
    return DrainLoop(
        create_engine(settings.direct_database_url or settings.database_url, connect_args=options),
        gateway,
        drain,
        drain_settings=drain_settings,
        effects=effects_from(settings),
        heartbeat=heartbeat or heartbeat_from(settings),
        # The worker's pool does not exist yet, so look it up at each call.
        submit=(lambda work: worker.pool.apply_async(work)) if drain_settings.threads > 1 else None,
        application=application_engine(settings) if settings.direct_database_url else None,
    )
