"""Celery on RabbitMQ behind ``schedule()``: a task with an ETA, published after the caller's commit.

The queue is a quorum queue. RabbitMQ holds a message until less than a second before its ETA.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.contenders import contender
from duetime.errors import CannotBeListed
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler, Service
from duetime.settings import Settings

HERE = contender(__file__)
RABBITMQ = Service(
    name="rabbitmq",
    argv=("sh", str(HERE.here / "rabbitmq.sh")),
    url="amqp://guest:guest@127.0.0.1:{port}//",
    ports=("port", "dist_port", "epmd_port"),
    hello=b"AMQP\x00\x00\x09\x01",
    environment={
        "UNPACKED": str(HERE.unpacked),
        "PORT": "{port}",
        "DIST_PORT": "{dist_port}",
        "ERL_EPMD_PORT": "{epmd_port}",
    },
    is_broker=True,
)


class CeleryOnRabbitMq(Scheduler):
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
        try:
            self._deliver.apply_async(arguments, task_id=notification.op, eta=notification.due_at)
        except ValueError:
            # It is due in less than a second, and the delay queues count whole seconds, from one on.
            self._deliver.apply_async(arguments, task_id=notification.op, countdown=1)


def pending(_settings: Settings, _engine: Engine) -> Sequence[Pending]:
    """Raise, because RabbitMQ shows a message only by delivering it."""
    raise CannotBeListed("RabbitMQ tells how many messages a queue has, and not which")


def role(application: str, *options: str, environment: Mapping[str, str] | None = None) -> Role:
    return Role(
        name="worker",
        argv=("{python}", "-m", "celery", "-A", application, "worker", "-n", "{worker}@rabbitmq", *options),
        ready="{worker}@rabbitmq ready",
        environment=environment or {},
    )


design = Design(
    name="contender:celery_rabbitmq",
    summary="Celery 5.7 on RabbitMQ: quorum queues and native delayed delivery, with Celery's defaults",
    weakness="a task is acknowledged before it runs, so a killed worker loses it; workers that are down miss a revoke, "
    "and if all restart together, every revoke is lost",
    guarantees=Guarantees(
        delivery="at_most_once",
        transactional=False,
        cancels=False,
        unique_by_key=False,
        as_durable_as="broker",
        due_by="workers",
    ),
    services=[RABBITMQ],
    roles=[role("celeryapp", "--concurrency=4", "--loglevel=INFO")],
    install=lambda _engine: None,
    scheduler=lambda _settings: CeleryOnRabbitMq("celeryapp"),
    pending=pending,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:celery_rabbitmq:tuned",
    summary="Celery 5.7 on RabbitMQ: acknowledged after the delivery, retried after an error, revokes kept",
    weakness="a task that a killed worker had delivered, and not acknowledged, is delivered again; a killed "
    "worker loses its revokes, unless another one is up",
    guarantees=replace(design.guarantees, delivery="at_least_once"),
    scheduler=lambda _settings: CeleryOnRabbitMq("tuned"),
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
)
