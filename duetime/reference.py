"""The reference design: a correct design for the tests of the harness, and an example of a design in one file.

It guarantees at least once, like every read model. It duplicates nothing either, because before each delivery it asks
the gateway whether this revision has already arrived. A gateway that accepts idempotency keys gives the same answer.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, Engine, bindparam, create_engine, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from duetime.interface import Design, Guarantees, Notification, Pending, Role, Scheduler
from duetime.limits import check_same_content
from duetime.runtime.calls import check_cancel, usable_session
from duetime.runtime.effects import NO_EFFECTS, Effects, effects_from
from duetime.runtime.gateway import Gateway, gateway_from
from duetime.runtime.lock_wait import bounded_lock_wait, lock_timeout
from duetime.settings import SCHEDULE_WAIT, Settings

CHECK_EVERY_S = 0.02
RECONNECT_S = 0.5

log = logging.getLogger(__name__)

CREATE = "CREATE TABLE IF NOT EXISTS reference (key text PRIMARY KEY, revision int, due_at timestamptz, body jsonb)"
SCHEDULE = text(
    """INSERT INTO reference VALUES (:key, :revision, :due_at, :body)
    ON CONFLICT (key) DO UPDATE SET revision = :revision, due_at = :due_at, body = :body
    WHERE reference.revision < :revision RETURNING true"""
).bindparams(bindparam("body", type_=JSONB))
STORED = text("SELECT body FROM reference WHERE key = :key AND revision = :revision")
CANCEL = text("DELETE FROM reference WHERE key = :key AND revision < :revision")
CLAIM_ONE = text(
    "SELECT key, body FROM reference WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED"
)
DELETE = text("DELETE FROM reference WHERE key = :key")
POSTPONE = text("UPDATE reference SET due_at = clock_timestamp() + interval '0.2 seconds' WHERE key = :key")


class Reference(Scheduler):
    """Keeps one row for each key, written in the caller's transaction."""

    def __init__(self, wait: timedelta = SCHEDULE_WAIT) -> None:
        self._wait = lock_timeout(wait)

    def schedule(self, notification: Notification, *, session: Session) -> None:
        session = usable_session(session)
        body = notification.to_json()
        row = {"key": notification.key, "revision": notification.revision, "due_at": notification.due_at, "body": body}
        with bounded_lock_wait(session, repr(notification.key), self._wait):
            written = session.scalar(SCHEDULE, row)
        if not written and (stored := session.scalar(STORED, row)):
            check_same_content(notification, Notification.from_stored_json(stored))

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        session = usable_session(session)
        check_cancel(key, revision)
        with bounded_lock_wait(session, repr(key), self._wait):
            session.execute(CANCEL, {"key": key, "revision": revision})


class Arrived:
    """The revisions that the gateway has delivered, read from its file."""

    def __init__(self, settings: Settings) -> None:
        self._lines = settings.deliveries.open("rb")
        self._ops: set[str] = set()

    def __contains__(self, notification: Notification) -> bool:
        self._ops.update(json.loads(line)["op"] for line in self._lines)
        return notification.op in self._ops


def deliver_next(connection: Connection, gateway: Gateway, arrived: Arrived, effects: Effects = NO_EFFECTS) -> bool:
    """Deliver the row that fell due first, unless it has already arrived. Returns True if there was a row.

    If the delivery fails, the row is due again 0.2 s later, behind the other due rows.
    """
    row = connection.execute(CLAIM_ONE).one_or_none()
    if row is None:
        return False
    notification = Notification.from_stored_json(row.body)
    # The row is locked, so no other worker can deliver it between the question and the delivery.
    try:
        if effect := effects.of(notification):
            with connection.begin_nested():
                connection.exec_driver_sql("SET LOCAL lock_timeout = '200ms'")
                connection.exec_driver_sql(*effect)
        elif notification not in arrived:
            gateway.deliver(notification)
    except Exception:  # noqa: BLE001 - a gateway may raise anything; the next attempt asks whether it arrived
        connection.execute(POSTPONE, {"key": row.key})
    else:
        connection.execute(DELETE, {"key": row.key})
    return True


def serve(settings: Settings) -> None:
    """Deliver due rows until the process is terminated."""
    engine, gateway, arrived = (
        create_engine(settings.database_url, connect_args=settings.driver_options),
        gateway_from(settings),
        Arrived(settings),
    )
    effects = effects_from(settings)
    os.write(sys.stdout.fileno(), f"{settings.worker} serves\n".encode())
    while True:
        try:
            with engine.begin() as connection:
                delivered = deliver_next(connection, gateway, arrived, effects)
        except OperationalError as error:  # the session has ended; the next transaction opens another
            log.warning("trying again in %s s: %s", RECONNECT_S, error)
            time.sleep(RECONNECT_S)
        else:
            if not delivered:
                time.sleep(CHECK_EVERY_S)


def install(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(CREATE))


def pending(_settings: Settings, engine: Engine) -> Sequence[Pending]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT key, revision FROM reference")).all()
    return [Pending(f"{row.key}/{row.revision}", "row in reference") for row in rows]


design = Design(
    name="reference",
    summary="a read model that asks the gateway before each delivery whether the revision has already arrived",
    weakness="one transaction and one question to the gateway for each delivery, and few gateways can answer it; with "
    "any other gateway a crash duplicates",
    guarantees=Guarantees(delivery="at_least_once", transactional=True, cancels=True),
    roles=[Role(name="worker", argv=(sys.executable, "-m", "duetime.reference"), ready="{worker} serves")],
    install=install,
    scheduler=lambda settings: Reference(settings.schedule_wait),
    pending=pending,
    uses_broker=False,
)

if __name__ == "__main__":
    serve(Settings.from_environment())
