"""Reads and removes the messages that the broker holds for this queue, in the layout that kombu gives them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from duetime.interface import Notification
from duetime.runtime.broker import broker_client
from duetime.settings import Settings

QUEUE = "oban_style_queue"
"""Not Celery's default "celery", so that designs of other packages may share the broker."""
UNACKED = "unacked"
"""The hash of the messages that workers have received and not acknowledged, for all queues of the broker."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message in the broker.

    tag: its field in `UNACKED` if a worker has received it; None if it waits in the queue's list.
    """

    notification: Notification
    raw: str
    tag: str | None


def held_task_ids(settings: Settings) -> tuple[Sequence[str], Sequence[str]]:
    """Return the ids of the tasks that wait in the queue, and of those received and not acknowledged."""
    with broker_client(settings, socket_timeout=5) as broker:
        waiting = [json.loads(raw) for raw in broker.lrange(QUEUE, 0, -1)]
        received = [json.loads(raw) for raw in broker.hvals(UNACKED)]
    unacknowledged = [message for message, _exchange, routing_key in received if routing_key == QUEUE]
    return [message["headers"]["id"] for message in waiting], [message["headers"]["id"] for message in unacknowledged]


def messages(broker: redis.Redis) -> Sequence[Message]:
    """Return every message of this queue, waiting or received."""
    waiting = [str(raw) for raw in broker.lrange(QUEUE, 0, -1)]
    found = [Message(_notification(json.loads(raw)), raw, None) for raw in waiting]
    for tag, raw in broker.hgetall(UNACKED).items():
        message, _exchange, routing_key = json.loads(raw)
        if routing_key == QUEUE:
            found.append(Message(_notification(message), str(raw), str(tag)))
    return found


def remove(broker: redis.Redis, batch: Sequence[Message]) -> None:
    """Remove these messages from the queue's list and from `UNACKED`, in one transaction."""
    with broker.pipeline() as pipeline:
        for message in batch:
            if message.tag is None:
                pipeline.lrem(QUEUE, 1, message.raw)
            else:
                pipeline.hdel(UNACKED, message.tag)
                pipeline.zrem(f"{UNACKED}_index", message.tag)
        pipeline.execute()


def _notification(message: Mapping[str, Any]) -> Notification:
    [arguments, _keywords, _embedded] = json.loads(base64.b64decode(message["body"]))
    return Notification.from_stored_json(arguments[0])
