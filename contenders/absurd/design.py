"""Absurd behind ``schedule()``: a task, spawned in the caller's transaction, that sleeps until it is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.contenders import contender
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

UNFINISHED = text(
    "SELECT task_id, CAST(params->>'revision' AS integer) AS revision FROM absurd.t_default "
    "WHERE params->>'key' = :key AND state IN ('pending', 'running', 'sleeping')"
)
PENDING = text(
    "SELECT params->>'key' AS key, params->>'revision' AS revision, state, attempts FROM absurd.t_default "
    "WHERE state NOT IN ('completed', 'cancelled')"
)
STATES = {"pending": "waiting", "sleeping": "waiting", "running": "held", "failed": "failed"}
RETRIES = {"max_attempts": 20, "retry_strategy": {"kind": "fixed", "base_seconds": 1}}
HERE = contender(__file__)


class Absurd(Scheduler):
    """Spawns and cancels over the caller's connection."""

    def __init__(self, _settings: Settings, **options: Any) -> None:
        self._options = options

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Cancel the older tasks of the key, and spawn one, unless this revision or a newer one waits."""
        if self._cancel(session, notification.key, notification.revision):
            return
        params = {
            "key": notification.key,
            "revision": notification.revision,
            "due_at": notification.due_at.isoformat(),
        }
        client(session).spawn("deliver", params, queue="default", idempotency_key=notification.op, **self._options)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Cancel the older tasks of the key; a step that has begun runs to its end."""
        self._cancel(session, key, revision)

    def _cancel(self, session: Session, key: str, revision: int) -> bool:
        """Cancel older tasks. Returns True if one of this revision or a newer one is not finished."""
        tasks = session.execute(UNFINISHED, {"key": key}).all()
        older = [task.task_id for task in tasks if task.revision < revision]
        for task_id in older:
            client(session).cancel_task(str(task_id))
        return len(older) < len(tasks)


def client(session: Session) -> Any:
    """Return a client over psycopg's connection, in the caller's transaction."""
    from absurd_sdk import Absurd as Client

    return Client(session.connection().connection.driver_connection)


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def tasks(_settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the tasks that have neither been completed nor cancelled."""
        with engine.connect() as connection:
            return [
                Pending(
                    f"{task.key}/{task.revision}",
                    f"absurd.t_default, {task.state}, {task.attempts} attempts",
                    STATES[task.state],  # type: ignore[arg-type]
                    back_after_s if task.state == "running" else None,
                )
                for task in connection.execute(PENDING)
            ]

    return tasks


role = Role(name="worker", argv=("{python}", "{here}/worker.py"), ready="worker ready")
design = Design(
    name="contender:absurd",
    summary="Absurd 0.5 with its defaults: a task in PostgreSQL, spawned in the caller's transaction, that sleeps",
    weakness="a dead worker's tasks come back after 120 s; one task at a time; five attempts without a delay",
    # "Brief overlapping execution is possible", and a task that fails five times has failed.
    guarantees=Guarantees(
        delivery="once_without_faults",
        transactional=True,
        cancels=True,
        due_by="workers",
        recovers_within_s=121.0,
        # One task at a time: it waits for those that are due before it.
        punctual_to_s=2.5,
    ),
    roles=[role],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=Absurd,
    pending=pending(121.0),
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:absurd:tuned",
    summary="Absurd 0.5: ten tasks at a time, a claim of 3 s, and twenty attempts a second apart",
    weakness="a task that takes more than 3 s, or that a dead worker had delivered, is delivered again",
    guarantees=replace(design.guarantees, delivery="at_least_once", recovers_within_s=5.0, punctual_to_s=0.0),
    roles=[replace(role, argv=(*role.argv, "3", "10"))],
    scheduler=partial(Absurd, **RETRIES),
    pending=pending(5.0),
)
