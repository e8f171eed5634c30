"""The generic queue with the settings of somebody's own application, and nothing else of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from celery import Celery
from sqlalchemy import Engine

from duetime.interface import Design, Guarantees, Pending
from duetime.settings import Settings
from oban_style_queue import celeryapp
from oban_style_queue.celeryapp import DELIVER
from oban_style_queue.design import design as defaults
from oban_style_queue.design import pending, worker_role
from oban_style_queue.scheduler import CeleryQueue

OPTIONS = "broker_transport_options"
COPIED_BY_A_TASK = {
    "task_acks_late": "acks_late",
    "task_acks_on_failure_or_timeout": "acks_on_failure_or_timeout",
    "task_reject_on_worker_lost": "reject_on_worker_lost",
    "task_default_rate_limit": "rate_limit",
    "task_time_limit": "time_limit",
    "task_soft_time_limit": "soft_time_limit",
}
"""What a task copies from the settings when it is made."""


def make_app(settings: Settings, own: Mapping[str, Any]) -> Celery:
    """Return the application of the plain queue with the settings `own`."""
    app = celeryapp.make_app(settings)
    options = {**app.conf[OPTIONS], **own.get(OPTIONS, {})}
    app.conf.update(own)
    app.conf[OPTIONS] = options
    for setting, option in COPIED_BY_A_TASK.items():
        setattr(app.tasks[DELIVER], option, app.conf[setting])
    return app


def application_design(
    name: str, module: str, own: Mapping[str, Any], *, arguments: Sequence[str], environment: Mapping[str, str]
) -> Design:
    """Return the queue as a design that runs ``celery -A module``. Its guarantees are unstated: its owner said none."""

    def own_pending(settings: Settings, engine: Engine) -> Sequence[Pending]:
        timeout_s = own.get(OPTIONS, {}).get("visibility_timeout", settings.visibility_timeout.total_seconds())
        return pending(replace(settings, visibility_timeout=timedelta(seconds=float(timeout_s))), engine)

    role = worker_role(module)
    return replace(
        defaults,
        name=name,
        summary="the generic queue with the settings of an application of your own",
        weakness="the settings decide; `duetime lint` says what each of them risks",
        guarantees=Guarantees(
            delivery="unstated", transactional=False, cancels=False, as_durable_as="broker", due_by="workers"
        ),
        roles=[replace(role, argv=(*role.argv, *arguments), environment={**role.environment, **environment})],
        scheduler=lambda settings: CeleryQueue(make_app(settings, own).tasks[DELIVER]),
        pending=own_pending,
        status=None,
        migrate=None,
    )
