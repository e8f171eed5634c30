"""The generic queue: its guarantees, its processes, and what it still holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sqlalchemy import Engine

from duetime.interface import Design, Guarantees, Pending, Role, Scheduler, Status
from duetime.settings import Settings
from oban_style_queue.broker import held_task_ids
from oban_style_queue.celeryapp import DELIVER, make_app
from oban_style_queue.migrate import migrate
from oban_style_queue.scheduler import CeleryQueue


def install(_engine: Engine) -> None:
    """Create nothing: the queue is in the broker."""


def scheduler(settings: Settings) -> Scheduler:
    return CeleryQueue(make_app(settings).tasks[DELIVER])


def pending(settings: Settings, _engine: Engine) -> Sequence[Pending]:
    """Return the messages that the broker still holds: waiting, or received by a worker and not acknowledged."""
    waiting, unacknowledged = held_task_ids(settings)
    return [
        *(Pending(op, "message waiting in the broker's queue") for op in waiting),
        *(
            Pending(
                op,
                "message in unacked: in a worker's memory and not acknowledged; if that worker is gone, the broker "
                f"gives it back after the visibility timeout of {settings.visibility_timeout.total_seconds():.0f} s",
                "held",
                settings.visibility_timeout.total_seconds(),
            )
            for op in unacknowledged
        ),
    ]


def status(settings: Settings, _engine: Engine) -> Status:
    """Count the messages by reading them all; a broker has no index on the ETA in their headers."""
    waiting, unacknowledged = held_task_ids(settings)
    return Status(
        pending=len(waiting) + len(unacknowledged),
        note=f"{len(waiting)} wait in the broker's list and {len(unacknowledged)} in workers' memories, due or not: "
        "each due time is inside its message, and nothing is kept about failures",
    )


def worker_role(module: str) -> Role:
    """Return the role of a worker that runs the application in `module`.

    Mingle and gossip are left on, because through them a worker receives the revokes of the other workers.
    """
    return Role(
        name="worker",
        argv=(
            *(sys.executable, "-m", "celery", "-A", module, "worker"),
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
        delivery="once_without_faults",
        transactional=False,
        cancels=False,
        unique_by_key=False,
        as_durable_as="broker",
        due_by="workers",
    ),
    roles=[worker_role("oban_style_queue.worker")],
    install=install,
    scheduler=scheduler,
    client_packages=("Celery",),
    pending=pending,
    status=status,
    migrate=migrate,
)
