"""What the generic queue is, what it promises, and the processes it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime

import redis
from sqlalchemy import Engine

from duetime.interface import Design, Guarantees, MigrationTarget, Pending, Role, Scheduler, Status
from duetime.settings import Settings

QUEUE = "oban_style_queue"
"""Named, unlike Celery's "celery", so that designs of other packages may share the broker."""
UNACKED = "unacked"


def install(_engine: Engine) -> None:
    """Nothing: the queue lives in the broker."""


def scheduler(_settings: Settings) -> Scheduler:
    """A publisher to the broker that the environment names; Celery's app reads it, so it is imported late."""
    from oban_style_queue.celeryapp import deliver
    from oban_style_queue.scheduler import CeleryQueue

    return CeleryQueue(deliver)


def pending(settings: Settings, _engine: Engine) -> Sequence[Pending]:
    """The messages that the broker still holds: waiting in the queue, or taken by a worker and not acknowledged."""
    waiting, taken = broker_holds(settings)
    return [
        *(Pending(op, "message waiting in the broker's queue") for op in waiting),
        *(
            Pending(
                op,
                "message in unacked: in a worker's memory and not acknowledged; if that worker is gone, the broker "
                f"gives it back after the visibility timeout of {settings.visibility_timeout.total_seconds():.0f} s",
            )
            for op in taken
        ),
    ]


def broker_holds(settings: Settings) -> tuple[Sequence[str], Sequence[str]]:
    """The tasks that wait in the queue, and those that workers have taken from it and not acknowledged."""
    with redis.Redis.from_url(settings.broker_url, socket_timeout=5) as broker:
        waiting = [json.loads(message) for message in broker.lrange(QUEUE, 0, -1)]
        # One table for all queues of the broker; each entry ends with its queue's routing key.
        entries = [json.loads(entry) for entry in broker.hvals(UNACKED)]
    taken = [message for message, _exchange, routing_key in entries if routing_key == QUEUE]
    return [message["headers"]["id"] for message in waiting], [message["headers"]["id"] for message in taken]


def status(settings: Settings, _engine: Engine) -> Status:
    """How many messages, by reading them all; no broker has an index on the ETA in their headers."""
    waiting, taken = broker_holds(settings)
    return Status(
        pending=len(waiting) + len(taken),
        note=f"{len(waiting)} wait in the broker's list and {len(taken)} in workers' memories, due or not: when each "
        "is due stands inside the message, and of what failed nothing is kept",
    )


def migrate(settings: Settings, engine: Engine, to: MigrationTarget, since: datetime | None) -> int:
    from oban_style_queue.migrate import migrate as moved  # it needs the names of this page

    return moved(settings, engine, to, since)


def serving(app: str) -> Role:
    """A server that runs `app`, with mingle and gossip: by them a worker learns of revokes from the others."""
    return Role(
        name="worker",
        argv=(
            *(sys.executable, "-m", "celery", "-A", app, "worker"),
            *("-n", "{worker}@oban_style_queue", "-c", "2", "-l", "INFO"),
        ),
        ready="{worker}@oban_style_queue ready.",
    )


design = Design(
    name="oban_style_queue",
    summary="each notification is a Celery task with an ETA, published after commit; cancel is revoke",
    weakness="a worker keeps its ETA tasks and its revokes in memory: a kill holds the tasks back for an hour "
    "and a restart of all workers forgets the revokes",
    guarantees=Guarantees(
        delivery="at_most_once", transactional=False, cancels=False, as_durable_as="broker", due_by="workers"
    ),
    roles=[serving("oban_style_queue.celeryapp")],
    install=install,
    scheduler=scheduler,
    pending=pending,
    status=status,
    migrate=migrate,
)
