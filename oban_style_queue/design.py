"""What the generic queue is, what it promises, and the processes it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import redis
from sqlalchemy import Engine

from duetime.interface import Design, Pending, Promise, Role, Scheduler
from duetime.settings import Settings

QUEUE = "celery"
UNACKED = "unacked"


def install(_engine: Engine) -> None:
    """Nothing: the queue lives in the broker."""


def scheduler(_settings: Settings) -> Scheduler:
    """A publisher to the broker that the environment names; Celery's app reads it, so it is imported late."""
    from oban_style_queue.celeryapp import deliver
    from oban_style_queue.schedule import CeleryQueue

    return CeleryQueue(deliver)


def pending(settings: Settings, _engine: Engine) -> Sequence[Pending]:
    """The messages that the broker still holds: waiting in the queue, or taken by a worker and not acknowledged."""
    with redis.Redis.from_url(settings.broker_url, socket_timeout=5) as broker:
        waiting = [json.loads(message) for message in broker.lrange(QUEUE, 0, -1)]
        taken = [json.loads(entry)[0] for entry in broker.hvals(UNACKED)]
    return [
        *(Pending(message["headers"]["id"], "message waiting in the broker's queue") for message in waiting),
        *(
            Pending(
                message["headers"]["id"],
                "message in unacked: in a worker's memory and not acknowledged; if that worker is gone, the broker "
                f"gives it back after the visibility timeout of {settings.visibility_timeout.total_seconds():.0f} s",
            )
            for message in taken
        ),
    ]


def serving(app: str) -> Role:
    """A server that runs `app`, with mingle and gossip: by them a worker learns of revokes from the others."""
    return Role(
        name="server",
        argv=(
            *(sys.executable, "-m", "celery", "-A", app, "worker"),
            *("-n", "{server}@oban_style_queue", "-c", "2", "-l", "INFO"),
        ),
        ready="{server}@oban_style_queue ready.",
    )


design = Design(
    name="oban_style_queue",
    summary="each notification is a Celery task with an ETA, published after commit; cancel is revoke",
    weakness="a worker keeps its ETA tasks and its revokes in memory: a kill holds the tasks back for an hour "
    "and a restart of all workers forgets the revokes",
    promise=Promise(
        delivery="at_most_once", transactional=False, cancels=False, as_durable_as="broker", due_by="servers"
    ),
    roles=[serving("oban_style_queue.celeryapp")],
    install=install,
    scheduler=scheduler,
    pending=pending,
)
