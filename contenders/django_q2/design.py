"""Django Q2 behind ``schedule()``: a one-off ``Schedule`` in the caller's transaction, found by its name."""

from __future__ import annotations

import ast
import base64
import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.contenders import contender
from duetime.errors import ScheduleRejected
from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.settings import Settings

NAME_LENGTH = 100
FIND = text("SELECT id, args FROM django_q_schedule WHERE name = :key FOR UPDATE")
# What ``django_q.tasks.schedule()`` writes; the test compares them.
INSERT = text(
    "INSERT INTO django_q_schedule (name, func, args, kwargs, schedule_type, repeats, next_run) "
    "VALUES (:key, 'tasks.deliver', :args, '{}', 'O', -1, :due_at)"
)
MOVE = text("UPDATE django_q_schedule SET args = :args, next_run = :due_at WHERE id = :id")
DELETE = text("DELETE FROM django_q_schedule WHERE id = :id")
SCHEDULED = text("SELECT args FROM django_q_schedule WHERE func = 'tasks.deliver'")
QUEUED = text("SELECT payload, lock > clock_timestamp() AS locked FROM django_q_ormq")
HERE = contender(__file__)


class DjangoQ2(Scheduler):
    """Writes the rows of Django Q2's model ``Schedule`` on the caller's connection, as Django would on its own."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Create the schedule of the key, or move it to the new due time."""
        if len(notification.key) > NAME_LENGTH:
            raise ScheduleRejected(
                f"the key {notification.key!r} has {len(notification.key)} characters, and the name of a schedule of "
                f"Django Q2 at most {NAME_LENGTH}"
            )
        values = {"args": str((notification.key, notification.revision)), "due_at": notification.due_at}
        found = session.execute(FIND, {"key": notification.key}).first()
        if found is None:
            session.execute(INSERT, {"key": notification.key, **values})
        elif revision_of(found.args) < notification.revision:
            session.execute(MOVE, {"id": found.id, **values})

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the schedule of the key; a task that was created from it is executed."""
        found = session.execute(FIND, {"key": key}).first()
        if found is not None and revision_of(found.args) < revision:
            session.execute(DELETE, {"id": found.id})


def revision_of(args: str) -> int:
    """Return the revision in the column `args`, which has the text of a tuple."""
    revision: int = ast.literal_eval(args)[1]
    return revision


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "datetime":
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"duetime's tasks have no {module}.{name}")


def op_of(payload: str) -> str:
    """Return the op of a queued task: a pickle in base64, a time and a signature."""
    packed = payload.split(":", 1)[0]
    task = _Unpickler(io.BytesIO(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))).load()
    key, revision = task["args"]
    return f"{key}/{revision}"


def pending(back_after_s: float) -> Callable[[Settings, Engine], Sequence[Pending]]:
    def tasks(_settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Return the schedules, and the tasks of the queue. A task that failed is locked like one that is executed."""
        with engine.connect() as connection:
            schedules = connection.execute(SCHEDULED).scalars().all()
            queued = connection.execute(QUEUED).all()
        found = [Pending("/".join(map(str, ast.literal_eval(args))), "django_q_schedule") for args in schedules]
        for task in queued:
            if task.locked:
                found.append(Pending(op_of(task.payload), "django_q_ormq, locked", "held", back_after_s))
            else:
                found.append(Pending(op_of(task.payload), "django_q_ormq"))
        return found

    return tasks


def cluster(settings_module: str) -> Role:
    return Role(
        name="worker",
        argv=("{python}", "-m", "django", "qcluster"),
        ready="running.",
        environment={"DJANGO_SETTINGS_MODULE": settings_module},
    )


design = Design(
    name="contender:django_q2",
    summary="Django Q2 1.11 with its ORM broker: a one-off schedule in the caller's transaction",
    weakness="it looks for due schedules every 30 s; a task of a killed cluster is presented again after 60 s",
    guarantees=Guarantees(
        delivery="at_least_once",
        transactional=True,
        cancels=False,  # a task that was created from a schedule is executed, also after it was retried
        due_by="workers",
        recovers_within_s=60.0,
        punctual_to_s=30.0,  # "Twice a minute the scheduler checks": its page about the architecture
    ),
    roles=[cluster("settings")],
    install=lambda engine: HERE.run("install.py", engine),
    scheduler=lambda _settings: DjangoQ2(),
    pending=pending(60.0),
    uses_broker=False,
    contender=HERE,
)
tuned = replace(
    design,
    name="contender:django_q2:tuned",
    summary="Django Q2 1.11 with four workers, which presents the tasks of a killed cluster again after 6 s",
    weakness="it looks for due schedules every 30 s",
    guarantees=replace(design.guarantees, recovers_within_s=6.0),
    roles=[cluster("tuned_settings")],
    pending=pending(6.0),
)
