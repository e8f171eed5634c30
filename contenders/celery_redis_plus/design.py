"""Celery with the transport celery-redis-plus behind ``schedule()``: a task with an ETA, published after the commit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

QUEUE = "celery"
HERE = contender(__file__)


class CeleryRedisPlus(Scheduler):
    """Publishes a task for each revision, and revokes the tasks of the older ones by their ids.

    application: the module of this folder with the Celery application.
    """

    def __init__(self, application: str) -> None:
        module: Any = import_module(application)
        self._app, self._deliver = module.app, module.deliver

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, revoke the older revisions and publish this one. Celery publishes an id again if asked."""
        self.cancel(notification.key, revision=notification.revision, session=session)
        after_commit(session, lambda: self._publish(notification), once=notification.op)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, tell the running workers to skip the older revisions."""
        if older := [f"{key}/{number}" for number in range(1, revision)]:
            after_commit(session, lambda: self._app.control.revoke(older))

    def _publish(self, notification: Notification) -> None:
        arguments = (notification.key, notification.revision)
        self._deliver.apply_async(arguments, task_id=notification.op, eta=notification.due_at)


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def messages(settings: Settings, _engine: Engine) -> Sequence[Pending]:
        """Return the messages of the queue, each in a hash of its own until it is acknowledged."""
        found = []
        store: Any = redis.Redis.from_url(settings.broker_url, decode_responses=True)
        with store:
            for key in store.scan_iter("message:*"):
                payload, delayed = store.hmget(key, "payload", "native_delayed")
                if payload is None:  # acknowledged meanwhile
                    continue
                queued = store.zscore(f"queue:{QUEUE}", key.removeprefix("message:")) is not None
                waits = queued or delayed == "1"
                found.append(
                    Pending(
                        json.loads(payload)["headers"]["id"],
                        "message in the queue" if waits else "message that a worker has taken",
                        "waiting" if waits else "held",
                        None if waits else back_after_s,
                    )
                )
        return found

    return messages


def role(application: str, *options: str, environment: Mapping[str, str] | None = None) -> Role:
    return Role(
        name="worker",
        argv=("{python}", "-m", "celery", "-A", application, "worker", "-n", "{worker}@plus", *options),
        ready="{worker}@plus ready",
        environment=environment or {},
    )


design = Design(
    name="contender:celery_redis_plus",
    summary="Celery 5.7 with the Redis transport celery-redis-plus 0.4 and the defaults of both",
    weakness="a task is acknowledged before it runs, so a killed worker loses it; what is due within a minute waits in "
    "a worker, and comes back six minutes after its death; workers that are down miss a revoke",
    guarantees=Guarantees(
        delivery="at_most_once",
        transactional=False,
        cancels=False,
        unique_by_key=False,
        as_durable_as="broker",
        due_by="workers",
        recovers_within_s=360.0,  # the visibility timeout, 300 s, and a look each 60 s
    ),
    roles=[role("celeryapp", "--concurrency=4", "--loglevel=INFO")],
    install=lambda _engine: None,
    scheduler=lambda _settings: CeleryRedisPlus("celeryapp"),
    pending=pending(360.0),
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:celery_redis_plus:tuned",
    summary="Celery 5.7 with celery-redis-plus 0.4: acknowledged after delivery, retried, a shorter poll and timeout",
    weakness="a task that a killed worker had delivered, and not acknowledged, is delivered again; a dead worker's "
    "messages come back after up to 70 s; a killed worker loses its revokes",
    guarantees=replace(design.guarantees, delivery="at_least_once", recovers_within_s=70.0),
    scheduler=lambda _settings: CeleryRedisPlus("tuned"),
    roles=[
        role(
            "tuned",
            "--concurrency=4",
            "--loglevel=INFO",
            "--statedb={state}/revoked",
            # A mark must outlive its task. By default a worker that stops drops it if it is 3 hours old.
            environment={"CELERY_WORKER_REVOKE_EXPIRES": str(40 * 86_400)},
        )
    ],
    pending=pending(70.0),
)
