"""What the naive poller is, what it promises, and the processes it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sqlalchemy import Engine

from duetime.interface import Design, Pending, Promise, Role
from duetime.settings import Settings
from pull_worker.schedule import NothingToSchedule


def install(_engine: Engine) -> None:
    """Nothing: the application's own tables are all that a poller needs, which is what people like about it."""


def pending(_settings: Settings, _engine: Engine) -> Sequence[Pending]:
    """Nothing: a poller keeps no record of what is still to come, and none of what it has done."""
    return []


def serving(app: str) -> Role:
    """A server that runs `app` with a beat of its own."""
    return Role(
        name="server",
        argv=(
            *(sys.executable, "-m", "celery", "-A", app, "worker"),
            # -B: a beat in every server, the way a worker's start-up command is usually copied from host to host.
            *("-B", "-s", "{state}/beat-schedule"),
            *("-n", "{server}@pull_worker", "-c", "2", "-l", "INFO", "--without-mingle", "--without-gossip"),
        ),
        ready="{server}@pull_worker ready.",
    )


design = Design(
    name="pull_worker",
    summary="each server's Celery beat polls the events table for what starts in one lead time",
    weakness="what no poll saw is never sent; what two polls saw is sent twice",
    promise=Promise(delivery="nothing", transactional=True, cancels=True, due_by="servers"),
    roles=[serving("pull_worker.celeryapp")],
    install=install,
    scheduler=lambda _settings: NothingToSchedule(),
    pending=pending,
)
