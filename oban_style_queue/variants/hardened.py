"""Variant: the most robust documented settings, and a task that asks the database whether it is still wanted.

With acks_late and a short visibility timeout every message may be executed several times; the row makes that
harmless. The queue only decides when to deliver, and the table whether to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

from celery import Celery, Task
from celery.signals import worker_process_init
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from duetime.interface import Guarantees, Notification, Pending, Scheduler
from duetime.runtime.broker import broker_client
from duetime.runtime.calls import check_cancel, usable_session
from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway
from duetime.runtime.lock_wait import bounded_lock_wait, lock_timeout
from duetime.settings import SCHEDULE_WAIT, Settings
from oban_style_queue.broker import held_task_ids
from oban_style_queue.celeryapp import DELIVER, Connections, new_app
from oban_style_queue.design import design as defaults
from oban_style_queue.design import worker_role
from oban_style_queue.scheduler import publish_after_commit

SEARCH_LOCK = "unacked_mutex"
"""kombu's lock around its search for the messages of dead workers."""
MessageState = tuple[str, Literal["waiting", "held"], float | None]
"""A message in words, its state, and after how many seconds it comes back, as in ``Pending``."""

metadata = MetaData()
wanted = Table(
    "wanted_notifications",
    metadata,
    Column("key", Text, primary_key=True),
    Column("revision", Integer, nullable=False),
)


class HardenedQueue(Scheduler):
    """Writes the wanted revision in the caller's transaction, and publishes it after the commit.

    A crash in between leaves a row without a message, and the notification is missed.
    """

    def __init__(self, task: Task[..., Any], wait: timedelta = SCHEDULE_WAIT) -> None:
        self._task = task
        self._wait = lock_timeout(wait)

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Write the row. An equal revision is published again, because its first message may be lost.

        Of two messages of one revision the first delivers, and the row cannot tell whether they differ.
        """
        session = usable_session(session)
        row = insert(wanted).values(key=notification.key, revision=notification.revision)
        newer = row.excluded.revision > wanted.c.revision
        upsert = row.on_conflict_do_update(
            index_elements=["key"], set_={"revision": notification.revision}, where=newer
        )
        with bounded_lock_wait(session, repr(notification.key), self._wait):
            session.execute(upsert)
        publish_after_commit(session, self._task, notification)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Delete the row. The message stays in the broker, and its task will find no row."""
        session = usable_session(session)
        check_cancel(key, revision)
        with bounded_lock_wait(session, repr(key), self._wait):
            session.execute(delete(wanted).where(wanted.c.key == key, wanted.c.revision < revision))


def deliver_if_wanted(
    engine: Engine, gateway: Gateway, notification: Notification, *, retries: int, effects: Effects = NO_EFFECTS
) -> bool:
    """Deliver `notification` unless it was cancelled, replaced or delivered. Returns True if it was delivered.

    The row is locked until the delivery ends, so that of several copies of the message only one delivers.
    """
    mine = (wanted.c.key == notification.key, wanted.c.revision == notification.revision)
    with engine.begin() as connection:
        if connection.execute(select(wanted.c.key).where(*mine).with_for_update()).one_or_none() is None:
            return False
        if effect := effects.of(notification):
            # In the transaction that deletes the row, so exactly once. The timeout avoids a deadlock with a
            # transaction of the application that has locked its own row and waits for ours; the task is retried.
            connection.exec_driver_sql("SET LOCAL lock_timeout = '200ms'")
            connection.exec_driver_sql(*effect)
        else:
            gateway.deliver(notification, attempt=retries + 1)
        connection.execute(delete(wanted).where(*mine))
    return True


def make_app(settings: Settings) -> Celery:
    """Return the application with each setting that differs from Celery's default."""
    app = new_app(settings)
    # Acknowledged at its end, so that the task of a killed worker comes back.
    app.conf.task_acks_late = True
    # The task of a killed pool process comes back too.
    app.conf.task_reject_on_worker_lost = True
    # Connects again after an error that the broker answers, such as NOREPLICAS, instead of ending the worker.
    app.conf.broker_channel_error_retry = True
    app.conf.broker_transport_options = {
        **settings.broker_options,
        # The messages of a dead worker come back after five minutes instead of an hour. Most notifications are due
        # later than that, so copies of their messages pile up in the workers' memory.
        "visibility_timeout": settings.rescue_after.total_seconds(),
        # Search for such messages every second instead of every 100 s.
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        # A worker that dies during the search leaves its lock behind, by default for five minutes.
        "unacked_mutex_expire": max(1, int(settings.rescue_after.total_seconds())),
    }
    connections = Connections(settings)
    worker_process_init.connect(connections.open, weak=False)

    @app.task(
        name=DELIVER,
        bind=True,
        ignore_result=True,
        shared=False,
        # After any error, retry after 1, 2, 4 … seconds, at most an hour, without end.
        autoretry_for=(Exception,),
        retry_backoff=True,
        retry_backoff_max=3600,
        retry_jitter=False,
        max_retries=None,
    )
    def deliver(self: Task[..., Any], notification: dict[str, Any]) -> None:
        """Call ``deliver_if_wanted``."""
        deliver_if_wanted(
            connections.engine,
            connections.gateway,
            Notification.from_stored_json(notification),
            retries=self.request.retries,
            effects=connections.effects,
        )

    return app


def pending(settings: Settings, engine: Engine) -> Sequence[Pending]:
    """Return the rows, each with the state of its message in the broker."""
    messages = message_states(settings)
    with engine.connect() as connection:
        rows = connection.execute(select(wanted.c.key, wanted.c.revision)).all()
    found = []
    for op in (f"{row.key}/{row.revision}" for row in rows):
        text, state, back_after_s = messages.get(op, ("and no message in the broker", "held", None))
        found.append(Pending(op, f"row in wanted_notifications, {text}", state, back_after_s))
    return found


def message_states(settings: Settings) -> dict[str, MessageState]:
    """Return what is known of each revision's message."""
    waiting, unacknowledged = held_task_ids(settings)
    with broker_client(settings, socket_timeout=5) as broker:
        locked_ms = broker.pttl(SEARCH_LOCK)
    state = "its message unacknowledged"
    # A search holds the lock for milliseconds, unless its worker died or lost its connection meanwhile.
    if locked_ms > 0:
        state += f", and the search that would give it back is locked for {locked_ms / 1000:.0f} s more"
    # The lock of a search lives as long as a claim.
    back_after_s = 2 * settings.rescue_after.total_seconds()
    in_queue: MessageState = ("its message in the queue", "waiting", None)
    received: MessageState = (state, "held", back_after_s)
    return dict.fromkeys(waiting, in_queue) | dict.fromkeys(unacknowledged, received)


design = replace(
    defaults,
    name="oban_style_queue:hardened",
    summary="Celery ETA tasks, acknowledged late and redelivered soon, that ask the database whether they are wanted",
    weakness="commit and publish are still two steps; and every few minutes the broker gives each waiting message "
    "to a further worker, which also keeps it in memory",
    guarantees=Guarantees(
        delivery="at_least_once", transactional=False, cancels=True, as_durable_as="broker", due_by="workers"
    ),
    roles=[worker_role("oban_style_queue.variants.hardened_worker")],
    install=metadata.create_all,
    scheduler=lambda settings: HardenedQueue(make_app(settings).tasks[DELIVER], settings.schedule_wait),
    pending=pending,
    status=None,
    migrate=None,
)
