"""Moving what is pending to another design: out of the broker, and out of the workers' memories."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.clock import system_clock
from duetime.interface import Destination, Notification
from duetime.settings import Settings
from oban_style_queue.design import QUEUE, UNACKED

SOON = timedelta(seconds=2.5)
"""What is due by then its own workers deliver: a revoke takes a moment to reach all of them."""
ANSWERED_S = 1.0
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Held:
    """A message as the broker holds it: in the queue's list, or under `tag` because some worker has it."""

    notification: Notification
    raw: str
    tag: str | None


def hand_over(settings: Settings, engine: Engine, to: Destination, _since: datetime | None) -> int:
    """Have the workers forget what can wait, schedule it there, and take it out of the broker.

    Three stores that share no transaction, so in this order: whoever dies in between may do it again.
    """
    from oban_style_queue.celeryapp import app  # reads the environment

    with redis.Redis.from_url(settings.broker_url, decode_responses=True) as broker, Session(engine) as session:
        can_wait = [one for one in held(broker) if one.notification.due_at > system_clock() + SOON]
        for start in range(0, len(can_wait), AT_ONCE):
            some = can_wait[start : start + AT_ONCE]
            # Each worker answers once it has it; a revoke is remembered until the worker ends.
            app.control.revoke([one.notification.op for one in some], reply=True, timeout=ANSWERED_S)
            for one in some:
                to.take_unless_changed(one.notification, session=session)
            session.commit()
            take_out(broker, some)
    return len(can_wait)


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
