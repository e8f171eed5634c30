"""Moving what is pending to another design: out of the broker, and out of the workers' memories."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
from celery import Celery
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.clock import system_clock
from duetime.interface import Destination, Notification
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


def hand_over(settings: Settings, engine: Engine, to: Destination, _since: datetime | None) -> int:
    """Have the workers forget what can wait, schedule it there, and take it out of the broker.

    Three stores that share no transaction, so in this order: whoever dies in between does it again, and soon, because
    the workers have forgotten.
    """
    from oban_style_queue.celeryapp import app  # reads the environment

    moved = 0
    with redis.Redis.from_url(settings.broker_url, decode_responses=True) as broker, Session(engine) as session:
        while some := [one for one in held(broker) if one.notification.due_at > system_clock() + SOON][:AT_ONCE]:
            if not forgotten([one.notification.op for one in some], app):
                return moved
            for one in some:
                moved += to.take_unless_changed(one.notification, session=session)
                session.commit()
            take_out(broker, some)
    return moved


def forgotten(ids: Sequence[str], app: Celery) -> bool:
    """Whether every worker of this queue that is up has said that it will not execute these."""

    def mine(answers: Sequence[Mapping[str, Any]] | None) -> set[str]:
        return {name for one in answers or () for name in one if name.endswith(f"@{QUEUE}")}

    up = mine(app.control.ping(timeout=ANSWERED_S))
    if not up:
        return True
    answered = mine(
        app.control.revoke(list(ids), reply=True, timeout=ANSWERED_S, destination=sorted(up), limit=len(up))
    )
    if missing := up - answered:
        log.warning("%s did not answer, so nothing is moved yet", ", ".join(sorted(missing)))
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
