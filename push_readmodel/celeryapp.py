"""The drain's Celery side: a step of the worker that runs the loop in a thread, with or without a broker."""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import Celery, bootsteps
from celery.worker import state
from sqlalchemy import create_engine

from duetime.runtime.effects import effects_from
from duetime.runtime.gateway import Gateway, gateway_from
from duetime.runtime.heartbeat import heartbeat_from
from duetime.settings import Settings
from push_readmodel.drain import Drain
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.flower_events import Failure, shown_in_flower
from push_readmodel.metrics import metered

log = logging.getLogger(__name__)

settings = Settings.from_environment()
policy = DrainSettings.from_environment()


class DrainStep(bootsteps.StartStopStep):
    """Starts with the worker and stops with it. A consumer step would stop whenever the broker goes away."""

    requires = ("celery.worker.components:Pool",)

    drain: type[Drain]
    failure: Failure

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        gateway: Gateway = gateway_from(settings)
        if policy.metrics_port:
            gateway = metered(gateway, policy.metrics_port, settings, create_engine(settings.database_url))
        if settings.watched:
            gateway = shown_in_flower(gateway, parent, failure=type(self).failure)
        # A database whose machine is gone without a word is noticed within half a minute.
        alive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
        self._loop = DrainLoop(
            create_engine(settings.database_url, connect_args=alive),
            gateway,
            type(self).drain,
            policy=policy,
            effects=effects_from(settings),
            heartbeat=heartbeat_from(settings),
            # Celery's own pool, if deliveries are to go side by side; the worker has one when the loop starts.
            submit=(lambda work: parent.pool.apply_async(work)) if policy.threads > 1 else None,
        )
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
        except BaseException:
            log.exception("the drain died; ending the worker with it")
            state.should_stop = 70  # type: ignore[assignment]  # the stub knows only the initial None


def draining(how: type[Drain], *, failure: Failure = "task-retried") -> Celery:
    """An app whose workers run `how` whenever something is due; a dashboard calls a failed delivery a `failure`."""
    app = Celery("push_readmodel", broker=settings.broker_url)
    # A queue of its own, though nothing is ever in it: on a shared broker these workers take nobody else's tasks.
    app.conf.update(settings.celery_events, task_default_queue="push_readmodel", worker_concurrency=policy.threads)
    app.steps["worker"].add(type("DrainStep", (DrainStep,), {"drain": how, "failure": failure}))
    return app


app = draining(Drain)
