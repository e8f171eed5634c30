"""Dramatiq behind ``schedule()``: ``send_with_options(delay=…)`` after the caller's commit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

QUEUES = ("default", "default.DQ", "default.XQ")
"""The queue, the queue of delayed messages, and the dead letters of both."""
HERE = contender(__file__)


class Dramatiq(Scheduler):
    """Sends delayed messages. Dramatiq neither replaces nor cancels one."""

    def __init__(self) -> None:
        from tasks import deliver  # type: ignore[import-not-found]  # in this folder

        self._deliver = deliver

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, send a delayed message. Older revisions stay."""
        after_commit(session, lambda: self._send(notification))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Nothing: Dramatiq has no cancel."""

    def _send(self, notification: Notification) -> None:
        self._deliver.send_with_options(args=(notification.key, notification.revision), delay=delay_ms(notification))


class TunedDramatiq(Scheduler):
    """Sends delayed messages, whose ids are made from key and revision, so that dramatiq-abort can cancel them."""

    def __init__(self) -> None:
        from tuned_tasks import deliver  # type: ignore[import-not-found]  # in this folder

        self._deliver = deliver

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, abort the older revisions and send a delayed message."""
        self.cancel(notification.key, revision=notification.revision, session=session)
        after_commit(session, lambda: self._send(notification))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, abort the older revisions; one that a worker has begun is delivered."""
        after_commit(session, lambda: self._abort(key, revision))

    def _send(self, notification: Notification) -> None:
        message = self._deliver.message(notification.key, notification.revision)
        self._deliver.broker.enqueue(message.copy(message_id=message_id(notification.op)), delay=delay_ms(notification))

    def _abort(self, key: str, revision: int) -> None:
        from dramatiq_abort import abort
        from dramatiq_abort.middleware import AbortMode

        for older in range(1, revision):
            abort(message_id(f"{key}/{older}"), mode=AbortMode.CANCEL)


def delay_ms(notification: Notification) -> int | None:
    """Return the delay that Dramatiq adds to its clock, which it cuts to a millisecond; None if it is due."""
    left = notification.due_at - datetime.now(UTC)
    return math.ceil(left.total_seconds() * 1000) + 1 if left.total_seconds() > 0 else None


def message_id(op: str) -> str:
    return str(uuid5(NAMESPACE_URL, op))


def pending(back_after_s: float | None) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def messages(settings: Settings, _engine: Engine) -> Sequence[Pending]:
        """Return the messages of all queues, without aborted ones. What a worker has fetched is held."""
        store: Any = redis.Redis.from_url(settings.broker_url, decode_responses=True)
        with store:
            held = {found for name in store.scan_iter("dramatiq:__acks__.*") for found in store.smembers(name)}
            return list(_messages(store, held, back_after_s))

    return messages


def _messages(store: Any, held: set[str], back_after_s: float | None) -> Iterator[Pending]:
    for queue in QUEUES:
        for redis_id, data in store.hgetall(f"dramatiq:{queue}.msgs").items():
            message = json.loads(data)
            key, revision = message["args"]
            if store.exists(f"dramatiq:aborts:cancel:{message['message_id']}"):
                continue
            op, where = f"{key}/{revision}", f"dramatiq:{queue}"
            if queue.endswith(".XQ"):
                yield Pending(op, where, "failed")
            elif redis_id in held:
                yield Pending(op, where, "held", back_after_s)
            else:
                yield Pending(op, where)


design = Design(
    name="contender:dramatiq",
    summary="Dramatiq 2.2 on Redis with the defaults: delayed messages, which workers fetch at once and keep",
    weakness="it has no cancel; the delayed messages of a killed worker wait for minutes, those of a worker that lost "
    "Redis until it is restarted",
    guarantees=Guarantees(
        delivery="at_least_once",
        transactional=False,
        cancels=False,
        has_cancel=False,
        unique_by_key=False,
        as_durable_as="broker",
        due_by="workers",
        # 60 s without a heartbeat, then one of a thousand fetches of the queue, at random. On two cores the
        # processes of a worker fetch twice a second, so with one other worker this is the time in 19 of 20 cases.
        recovers_within_s=1500.0,
    ),
    roles=[
        Role(
            name="worker",
            argv=("{python}", "-m", "dramatiq", "tasks", "--path", "{here}"),
            ready="Worker process is ready for action",
        )
    ],
    install=lambda _engine: None,
    scheduler=lambda _settings: Dramatiq(),
    pending=pending(1500.0),
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:dramatiq:tuned",
    summary="Dramatiq 2.2 on Redis with dramatiq-abort; workers take over the messages of a dead one after 3 s",
    weakness="the delayed messages of a worker that lost Redis wait until it is restarted",
    guarantees=replace(design.guarantees, has_cancel=True, recovers_within_s=6.0),
    roles=[replace(design.roles[0], argv=("{python}", "-m", "dramatiq", "tuned_tasks", "--path", "{here}"))],
    scheduler=lambda _settings: TunedDramatiq(),
    pending=pending(6.0),
)
