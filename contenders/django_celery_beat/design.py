"""django-celery-beat behind ``schedule()``: a one-off task with a clocked schedule, in the caller's transaction."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import redis
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

# A task that beat has sent counts as run, once beat has written that down.
UNSENT = text(
    "SELECT args FROM django_celery_beat_periodictask WHERE task = 'deliver' AND enabled AND total_run_count = 0"
)
HERE = contender(__file__)


class DjangoCeleryBeat(Scheduler):
    """Creates a ClockedSchedule and its PeriodicTask as a Django application would, within ``transaction.atomic()``."""

    def __init__(self) -> None:
        # A setting of its own: beat and the workers open connections of their own.
        os.environ["DJANGO_SETTINGS_MODULE"] = "clientsettings"
        import django
        from django.db import connection

        django.setup()
        from django_celery_beat import models

        self._models: Any = models
        self._django: Any = connection

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Delete the older tasks of the key and create one, unless this revision or a newer one has not been sent."""
        with self._transaction_of(session):
            if self._delete(notification.key, notification.revision):
                return
            self._models.PeriodicTask.objects.create(
                name=notification.op,
                description=notification.key,
                task="deliver",
                args=json.dumps([notification.key, notification.revision]),
                clocked=self._models.ClockedSchedule.objects.create(clocked_time=notification.due_at),
                one_off=True,
            )

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the older tasks of the key; what beat has sent is delivered."""
        with self._transaction_of(session):
            self._delete(key, revision)

    def _delete(self, key: str, revision: int) -> bool:
        """Delete the tasks of the key. Returns True, and keeps it, if one of this revision or newer has not been sent.

        Their ClockedSchedule stays: a beat that reads a task while it is deleted would end.
        """
        newer = False
        for task in self._models.PeriodicTask.objects.filter(task="deliver", description=key):
            if task.enabled and task.total_run_count == 0 and json.loads(task.args)[1] >= revision:
                newer = True
            else:
                task.delete()
        return newer

    @contextmanager
    def _transaction_of(self, session: Session) -> Iterator[None]:
        """Django uses the caller's connection, as inside an ``atomic()`` that begins and ends outside of it."""
        self._django.connection = session.connection().connection.driver_connection
        self._django.autocommit, self._django.in_atomic_block = False, True
        try:
            yield
        finally:
            self._django.connection = None
            self._django.in_atomic_block, self._django.needs_rollback = False, False


def pending(back_after_s: float | None) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def tasks(settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the tasks that beat has not sent, and the messages in Redis."""
        with engine.connect() as connection:
            rows = [json.loads(row.args) for row in connection.execute(UNSENT)]
        store: Any = redis.Redis.from_url(settings.broker_url, decode_responses=True)
        with store:
            waiting = [arguments_of(json.loads(raw)) for raw in store.lrange("celery", 0, -1)]
            held = [arguments_of(json.loads(raw)[0]) for raw in store.hvals("unacked")]
        return [
            *(Pending(f"{key}/{revision}", "django_celery_beat_periodictask") for key, revision in rows),
            *(Pending(f"{key}/{revision}", "Redis list celery") for key, revision in waiting),
            *(Pending(f"{key}/{revision}", "Redis hash unacked", "held", back_after_s) for key, revision in held),
        ]

    return tasks


def arguments_of(message: dict[str, Any]) -> tuple[str, int]:
    """Return the key and the revision of a task's message."""
    [arguments, _keywords, _embedded] = json.loads(base64.b64decode(message["body"]))
    key, revision = arguments
    return key, revision


def roles(settings_module: str) -> Sequence[Role]:
    """Return the role of the workers, and that of the one beat."""
    environment = {"DJANGO_SETTINGS_MODULE": settings_module}
    celery = ("{python}", "-m", "celery", "-A", "celeryapp")
    return [
        Role(
            name="worker",
            argv=(*celery, "worker", "-n", "{worker}@django", "--concurrency=4", "--loglevel=INFO"),
            ready="{worker}@django ready",
            environment=environment,
        ),
        Role(
            name="beat",
            argv=(*celery, "beat", "--pidfile=", "--loglevel=INFO"),
            ready="beat: Starting",
            replicas=1,
            environment=environment,
        ),
    ]


design = Design(
    name="contender:django_celery_beat",
    summary="django-celery-beat 2.9 with its defaults: one-off clocked tasks in PostgreSQL, one beat, Celery on Redis",
    weakness="beat looks at the schedule every 5 s; a killed beat sends again what it had sent since it last wrote to "
    "the database; a task is acknowledged before it runs, so a killed worker loses it",
    guarantees=Guarantees(
        delivery="at_most_once",
        transactional=True,
        cancels=False,
        as_durable_as="broker",
        due_by="workers",
        punctual_to_s=5.0,
    ),
    roles=roles("djangosettings"),
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: DjangoCeleryBeat(),
    pending=pending(3700.0),  # the visibility timeout of an hour, and kombu's look every 100 s
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:django_celery_beat:tuned",
    summary="django-celery-beat 2.9: beat looks every 0.5 s and records each task, workers acknowledge after delivery",
    weakness="what a worker had delivered, and not acknowledged, is delivered again; so is what beat had sent, and not "
    "recorded",
    guarantees=replace(design.guarantees, delivery="at_least_once", punctual_to_s=0.0, recovers_within_s=5.0),
    roles=roles("tunedsettings"),
    pending=pending(5.0),
)
