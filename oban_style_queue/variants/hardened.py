"""Variant: the most robust documented settings, and a task that asks the database whether it is still wanted.

Every message may be executed several times, which is what acks_late and a short visibility timeout amount to; the row
makes that harmless. So the queue becomes a clock, and the table is the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis
from celery import Task
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from duetime.interface import Guarantees, Notification, Pending, Scheduler
from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway
from duetime.settings import Settings
from oban_style_queue.design import broker_holds, serving
from oban_style_queue.design import design as defaults
from oban_style_queue.scheduler import after_commit

metadata = MetaData()
SEARCHING = "unacked_mutex"
"""kombu's lock around its search for what dead workers held."""

wanted = Table(
    "wanted_notifications",
    metadata,
    Column("key", Text, primary_key=True),
    Column("revision", Integer, nullable=False),
)


class HardenedQueue(Scheduler):
    """Writes in the caller's transaction which revision is wanted, and publishes it after the commit.

    The gap in between is still there: a crash leaves a row that no message will ever ask for.
    """

    def __init__(self, task: Task[..., Any]) -> None:
        self._task = task

    def schedule(self, notification: Notification, *, session: Session) -> None:
        row = insert(wanted).values(key=notification.key, revision=notification.revision)
        newer = row.excluded.revision > wanted.c.revision
        session.execute(
            row.on_conflict_do_update(index_elements=["key"], set_={"revision": notification.revision}, where=newer)
        )
        after_commit(
            session,
            lambda: self._task.apply_async(
                args=(notification.to_json(),), task_id=notification.op, eta=notification.due_at
            ),
        )

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the row. The message stays where it is and will find nothing to do."""
        session.execute(delete(wanted).where(wanted.c.key == key, wanted.c.revision < revision))


def deliver_if_wanted(
    engine: Engine, gateway: Gateway, notification: Notification, *, retries: int, effects: Effects = NO_EFFECTS
) -> bool:
    """Deliver `notification` unless it was cancelled, replaced or delivered; whether it was delivered.

    The row is locked until the delivery is over, so that of several copies of the message one delivers.
    """
    mine = (wanted.c.key == notification.key, wanted.c.revision == notification.revision)
    with engine.begin() as connection:
        if connection.execute(select(wanted.c.key).where(*mine).with_for_update()).one_or_none() is None:
            return False
        if effect := effects.of(notification):
            # In the transaction that deletes the row: exactly once, however often the message comes. Whoever changes
            # the application's row holds it and waits for ours: let them go first, and try again.
            connection.exec_driver_sql("SET LOCAL lock_timeout = '200ms'")
            connection.exec_driver_sql(*effect)
        else:
            gateway.deliver(notification, attempt=retries + 1)
        connection.execute(delete(wanted).where(*mine))
    return True


def scheduler(_settings: Settings) -> Scheduler:
    """A publisher to the broker that the environment names; Celery's app reads it, so it is imported late."""
    from oban_style_queue.variants.hardened_app import deliver

    return HardenedQueue(deliver)


def install(engine: Engine) -> None:
    """Create the table that says what is wanted."""
    metadata.create_all(engine)


def pending(settings: Settings, engine: Engine) -> Sequence[Pending]:
    """The rows, each with what the broker holds for it."""
    held = messages(settings)
    with engine.connect() as connection:
        rows = connection.execute(select(wanted.c.key, wanted.c.revision)).all()
    return [
        Pending(
            f"{row.key}/{row.revision}",
            f"row in wanted_notifications, {held.get(f'{row.key}/{row.revision}', 'and no message in the broker')}",
        )
        for row in rows
    ]


def messages(settings: Settings) -> dict[str, str]:
    """Where the broker holds the message of each revision."""
    waiting, taken = broker_holds(settings)
    with redis.Redis.from_url(settings.broker_url, socket_timeout=5) as broker:
        locked_ms = broker.pttl(SEARCHING)
    where = "its message unacknowledged"
    # Held for milliseconds at a time; whoever loses its connection while it holds it leaves it behind.
    if locked_ms > 0:
        where += f", and the search that would give it back is locked for {locked_ms / 1000:.0f} s more"
    return dict.fromkeys(waiting, "its message in the queue") | dict.fromkeys(taken, where)


design = replace(
    defaults,
    name="oban_style_queue:hardened",
    summary="Celery ETA tasks, acknowledged late and redelivered soon, that ask the database whether they are wanted",
    weakness="commit and publish are still two steps; and every few minutes each waiting message is given to one "
    "more worker's memory",
    guarantees=Guarantees(
        delivery="at_least_once", transactional=False, cancels=True, as_durable_as="broker", due_by="workers"
    ),
    roles=[serving("oban_style_queue.variants.hardened_app")],
    install=install,
    scheduler=scheduler,
    pending=pending,
    status=None,
    migrate=None,
)
