"""RedBeat behind ``schedule()``: an entry in Redis whose rule has one occurrence, saved after the caller's commit."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

SCHEDULE = "redbeat::schedule"
"""The sorted set of all entries, by their due times; -1 if there is none any more."""
HERE = contender(__file__)


class RedBeat(Scheduler):
    """Saves an entry for each revision. The name is not the key alone: beat writes back an entry that it has read.

    application: the module of this folder with the Celery application.
    """

    def __init__(self, application: str) -> None:
        self._app = import_module(application).app

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, delete the entries of the older revisions and save one for this revision."""
        self.cancel(notification.key, revision=notification.revision, session=session)
        after_commit(session, lambda: self._save(notification))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, delete the entries of the older revisions; what beat has sent is delivered."""
        if older := [f"{key}/{number}" for number in range(1, revision)]:
            after_commit(session, lambda: self._delete(older))

    def _save(self, notification: Notification) -> None:
        from redbeat import RedBeatSchedulerEntry
        from redbeat.schedules import rrule

        RedBeatSchedulerEntry(
            notification.op,
            "deliver",
            rrule("SECONDLY", dtstart=whole_second(notification.due_at), count=1, app=self._app),
            args=[notification.key, notification.revision],
            app=self._app,
        ).save()

    def _delete(self, names: Sequence[str]) -> None:
        from redbeat import RedBeatSchedulerEntry

        for name in names:
            RedBeatSchedulerEntry(name, app=self._app).delete()


def whole_second(due_at: datetime) -> datetime:
    """Return the first second that is not before the due time, and that has not begun.

    RedBeat stores whole seconds, and drops an occurrence that is not after the time at which the entry was made.
    """
    return datetime.fromtimestamp(max(math.ceil(due_at.timestamp()), int(time.time()) + 1), UTC)


def pending(back_after_s: float | None) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def entries(settings: Settings, _engine: Engine) -> Sequence[Pending]:
        """Return the entries that beat has not sent, and the messages."""
        store: Any = redis.Redis.from_url(settings.broker_url, decode_responses=True)
        with store:
            names = store.zrangebyscore(SCHEDULE, 0, "+inf")
            definitions = [json.loads(store.hget(name, "definition") or '{"task": ""}') for name in names]
            waiting = [arguments_of(json.loads(raw)) for raw in store.lrange("celery", 0, -1)]
            held = [arguments_of(json.loads(raw)[0]) for raw in store.hvals("unacked")]
        unsent = [definition["args"] for definition in definitions if definition["task"] == "deliver"]
        return [
            *(Pending(f"{key}/{revision}", SCHEDULE) for key, revision in unsent),
            *(Pending(f"{key}/{revision}", "Redis list celery") for key, revision in waiting),
            *(Pending(f"{key}/{revision}", "Redis hash unacked", "held", back_after_s) for key, revision in held),
        ]

    return entries


def arguments_of(message: dict[str, Any]) -> tuple[str, int]:
    """Return the key and the revision of a task's message."""
    [arguments, _keywords, _embedded] = json.loads(base64.b64decode(message["body"]))
    key, revision = arguments
    return key, revision


def roles(application: str) -> Sequence[Role]:
    """Return the role of the workers, and that of the one beat."""
    celery = ("{python}", "-m", "celery", "-A", application)
    return [
        Role(
            name="worker",
            argv=(*celery, "worker", "-n", "{worker}@redbeat", "--concurrency=4", "--loglevel=INFO"),
            ready="{worker}@redbeat ready",
        ),
        Role(
            name="beat",
            argv=(*celery, "beat", "-S", "redbeat.RedBeatScheduler", "--pidfile=", "--loglevel=INFO"),
            ready="beat: Starting",
            replicas=1,
        ),
    ]


design = Design(
    name="contender:redbeat",
    summary="RedBeat 2.4 with its defaults: one-off entries in Redis, one beat with a lock, Celery on Redis",
    weakness="beat looks at the schedule every 5 minutes; a killed beat's lock lives for 25 minutes; a task is marked "
    "as run before it is sent, and acknowledged before it is executed",
    guarantees=Guarantees(
        delivery="at_most_once",
        transactional=False,
        cancels=False,
        as_durable_as="broker",
        due_by="workers",
        # The lock of 25 minutes, and beat_max_loop_interval until a beat asks for it again.
        recovers_within_s=1800.0,
        punctual_to_s=301.0,
    ),
    roles=roles("celeryapp"),
    install=lambda _engine: None,
    scheduler=lambda _settings: RedBeat("celeryapp"),
    pending=pending(3700.0),  # the visibility timeout of an hour, and kombu's look every 100 s
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:redbeat:tuned",
    summary="RedBeat 2.4: beat looks every 0.5 s, its lock lives for 5 s, workers acknowledge after the delivery",
    weakness="an entry is marked as run before it is sent; what a worker had delivered, and not acknowledged, is "
    "delivered again",
    guarantees=replace(design.guarantees, delivery="once_without_faults", recovers_within_s=6.0, punctual_to_s=0.0),
    roles=roles("tuned"),
    scheduler=lambda _settings: RedBeat("tuned"),
    pending=pending(5.0),
)
