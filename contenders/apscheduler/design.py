"""APScheduler behind ``schedule()``: one scheduler process, to which clients send their calls after the commit."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.after_commit import after_commit
from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

PORT = text("SELECT port FROM apscheduler_server")
JOBS = text("SELECT job_state FROM apscheduler_jobs")
HERE = contender(__file__)


class ApScheduler(Scheduler):
    """Calls the scheduler's process, the only one that may use the job store."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """After the commit, let the scheduler add a job, or replace that of an older revision."""
        port: int = session.execute(PORT).scalar_one()
        due_at = notification.due_at.isoformat()
        after_commit(session, lambda: _call(port, "schedule", notification.key, notification.revision, due_at))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """After the commit, let the scheduler remove the job of an older revision, unless it has become due."""
        port: int = session.execute(PORT).scalar_one()
        after_commit(session, lambda: _call(port, "cancel", key, revision))


def _call(port: int, name: str, *arguments: str | int) -> None:
    import rpyc  # type: ignore[import-not-found]  # in the contender's environment

    with rpyc.connect("127.0.0.1", port) as connection:
        getattr(connection.root, name)(*arguments)


class JobState(pickle.Unpickler):
    """Reads a stored job without APScheduler, which duetime's own process does not have."""

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if module == "datetime" else _Ignored


class _Ignored:
    """Stands for a trigger and for its time zone."""

    def __init__(self, *_arguments: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...


def pending(_settings: Settings, engine: Engine) -> Sequence[Pending]:
    """Return the jobs in the store. One that has been handed to a thread is not there any more."""
    with engine.connect() as connection:
        states = [JobState(io.BytesIO(row.job_state)).load() for row in connection.execute(JOBS)]
    return [Pending("{}/{}".format(*state["args"]), "apscheduler_jobs") for state in states]


design = Design(
    name="contender:apscheduler",
    summary="APScheduler 3.11 with its defaults: one scheduler process with a job store in PostgreSQL, called by RPC",
    weakness="a job leaves the store before it has run, so a killed scheduler loses it; what it finds more than a "
    "second late is not run; while it is down, calls fail",
    guarantees=Guarantees(
        delivery="unstated",
        transactional=False,
        cancels=False,  # a job that has been handed to the thread pool is run, also if it still waits for a thread
        due_by="workers",
    ),
    roles=[
        Role(
            name="worker",
            argv=("{python}", "{here}/server.py"),
            ready="server started on",
            replicas=1,
        )
    ],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: ApScheduler(),
    pending=pending,
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:apscheduler:tuned",
    summary="APScheduler 3.11: jobs run however late they are, 20 threads, a lost database is asked again after 1 s",
    weakness="a job leaves the store before it has run, so a killed scheduler loses it; while it is down, calls fail",
    roles=[replace(design.roles[0], argv=("{python}", "{here}/tuned_server.py"))],
)
