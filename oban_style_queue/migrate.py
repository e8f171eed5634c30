"""Moving what is pending to another design: out of the broker, and out of the workers' memories."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
from celery import Celery
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.clock import system_clock
from duetime.interface import MigrationTarget, Notification
from duetime.settings import Settings
from oban_style_queue.design import QUEUE, UNACKED

log = logging.getLogger(__name__)

SOON = timedelta(seconds=4)
"""What is due by then its own workers deliver: they are asked twice, and what is moved is scheduled one by one."""
ANSWERED_S = 1.0
AT_ONCE = 200
"""Few enough to be scheduled within the second or two that are left."""


@dataclass(frozen=True, slots=True)
class Held:
    """A message as the broker holds it: in the queue's list, or under `tag` because some worker has it."""

    notification: Notification
    raw: str
    tag: str | None


def migrate(settings: Settings, engine: Engine, to: MigrationTarget, _since: datetime | None) -> int:
    """Schedule what can wait there, have the workers forget it, and take it out of the broker.

    Three stores that share no transaction, so in this order: whoever dies in between does it again, before it is due.
    What was cancelled before is in the broker too, and only its workers know: they are asked first.
    """
    from oban_style_queue.celeryapp import app  # reads the environment

    moved = 0
    with redis.Redis.from_url(settings.broker_url, decode_responses=True) as broker, Session(engine) as session:
        while some := [one for one in held(broker) if one.notification.due_at > system_clock() + SOON][:AT_ONCE]:
            up = {
                name for one in app.control.ping(timeout=ANSWERED_S) or () for name in one if name.endswith(f"@{QUEUE}")
            }
            cancelled = revoked(app, up)
            for one in some:
                if one.notification.op not in cancelled:
                    moved += to.accept_if_unchanged(one.notification, session=session)
                    session.commit()
            if not forgotten(app, up, [one.notification.op for one in some]):
                return moved
            take_out(broker, some)
    return moved


def revoked(app: Celery, up: Collection[str]) -> set[str]:
    """What any of the workers that are `up` will not execute."""
    if not up:
        return set()
    answers = app.control.inspect(sorted(up), timeout=ANSWERED_S, limit=len(up)).revoked() or {}
    return {op for ops in answers.values() for op in ops}


def forgotten(app: Celery, up: Collection[str], ids: Sequence[str]) -> bool:
    """Whether every worker that is `up` has said that it will not execute these."""
    if not up:
        return True
    told = app.control.revoke(list(ids), reply=True, timeout=ANSWERED_S, destination=sorted(up), limit=len(up))
    missing = set(up) - {name for one in told or () for name in one}
    if missing:
        log.warning("%s did not answer; what it holds is looked at again", ", ".join(sorted(missing)))
    return not missing


def held(broker: redis.Redis) -> Sequence[Held]:
    """Every message of this queue, whoever has it."""
    waiting = [str(raw) for raw in broker.lrange(QUEUE, 0, -1)]
    found = [Held(_notification(json.loads(raw)), raw, None) for raw in waiting]
    for tag, raw in broker.hgetall(UNACKED).items():
        message, _exchange, routing_key = json.loads(raw)
        if routing_key == QUEUE:
            found.append(Held(_notification(message), str(raw), str(tag)))
    return found


def take_out(broker: redis.Redis, some: Sequence[Held]) -> None:
    """Or a worker that starts later, and knows of no revoke, would have them again."""
    with broker.pipeline() as pipeline:
        for one in some:
            if one.tag is None:
                pipeline.lrem(QUEUE, 1, one.raw)
            else:
                pipeline.hdel(UNACKED, one.tag)
                pipeline.zrem(f"{UNACKED}_index", one.tag)
        pipeline.execute()


def _notification(message: Mapping[str, Any]) -> Notification:
    [arguments, _keywords, _embedded] = json.loads(base64.b64decode(message["body"]))
    return Notification.from_json(arguments[0])
