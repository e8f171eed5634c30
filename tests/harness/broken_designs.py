"""Designs with one known defect each, made from the reference. The harness must find each defect."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import redis
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from duetime import reference
from duetime.interface import Design, Notification, Pending, Role, Scheduler
from duetime.runtime.gateway import Gateway, gateway_from
from duetime.settings import Settings


class Counter:
    """Counts across all workers of a run: one byte in a file for each call."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def next(self) -> int:
        os.write(self._file, b".")
        return os.lseek(self._file, 0, os.SEEK_CUR)  # where this write ended


class Lossy:
    """Drops every 17th notification before the gateway."""

    def __init__(self, gateway: Gateway, counter: Counter) -> None:
        self._gateway = gateway
        self._counter = counter

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        if self._counter.next() % 17:
            self._gateway.deliver(notification, attempt=attempt)


class Duplicating:
    """Delivers every 17th notification again."""

    def __init__(self, gateway: Gateway, counter: Counter) -> None:
        self._gateway = gateway
        self._counter = counter

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self._gateway.deliver(notification, attempt=attempt)
        if self._counter.next() % 17 == 0:
            self._gateway.deliver(notification, attempt=attempt)


class Early(reference.Reference):
    """Stores each due time 300 ms too early."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        super().schedule(
            replace(notification, due_at=notification.due_at - timedelta(milliseconds=300)), session=session
        )


class IgnoresCancel(reference.Reference):
    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        pass


class OldRevisions(reference.Reference):
    """Keeps an older revision beside the newer one."""

    def schedule(self, notification: Notification, *, session: Session) -> None:
        body = notification.to_json()
        row = {"key": notification.op, "revision": 1, "due_at": notification.due_at, "body": body}
        session.execute(reference.SCHEDULE, row)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        session.execute(text("DELETE FROM reference WHERE key LIKE :keys"), {"keys": f"{key}/%"})


CLAIM = text(
    """UPDATE reference SET due_at = clock_timestamp() + interval '300 seconds' WHERE key = (
        SELECT key FROM reference WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING key, revision, body"""
)
DONE = text("DELETE FROM reference WHERE key = :key AND revision = :revision")
CLAIMED = text(
    """SELECT key, revision, due_at > clock_timestamp() AND CAST(body->>'due_at' AS timestamptz) <= clock_timestamp()
    AS held FROM reference"""
)


def serve_with_claims(settings: Settings) -> None:
    """Claim a row for five minutes, deliver it, delete it; a crash in between delivers it again after that."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    engine, gateway = create_engine(settings.database_url), gateway_from(settings)
    os.write(sys.stdout.fileno(), f"{settings.worker} serves\n".encode())
    while True:
        with engine.begin() as connection:
            row = connection.execute(CLAIM).one_or_none()
        if row is None:
            time.sleep(reference.CHECK_EVERY_S)
            continue
        gateway.deliver(Notification.from_stored_json(row.body))
        with engine.begin() as connection:
            connection.execute(DONE, {"key": row.key, "revision": row.revision})


def claimed(_settings: Settings, engine: Engine) -> Sequence[Pending]:
    with engine.connect() as connection:
        rows = connection.execute(CLAIMED).all()
    return [
        Pending(f"{row.key}/{row.revision}", "row in reference, claimed", "held", 300.0)
        if row.held
        else Pending(f"{row.key}/{row.revision}", "row in reference")
        for row in rows
    ]


def forget_everything(settings: Settings) -> None:
    """Delete all rows, as if they had been kept in the memory of a worker that ended."""
    with create_engine(settings.database_url).begin() as connection:
        connection.execute(text("DELETE FROM reference"))


def broken(name: str, summary: str, scheduler: type[Scheduler] = reference.Reference) -> Design:
    role = Role(name="worker", argv=(sys.executable, __file__, name), ready="{worker} serves")
    return replace(
        reference.design,
        name=name,
        summary=summary,
        roles=[role],
        scheduler=lambda _settings: scheduler(),
        # Its worker connects to the broker, so that faults of the broker apply.
        uses_broker=True,
    )


sound = broken("sound", "the reference, with a connection to the broker")
lossy = broken("lossy", "drops every 17th")
duplicating = broken("duplicating", "delivers every 17th again")
early = broken("early", "300 ms early", Early)
amnesiac = broken("amnesiac", "forgets everything at a restart")
ignores_cancel = broken("ignores_cancel", "ignores cancel", IgnoresCancel)
slow_rescue = replace(broken("slow_rescue", "rescues after five minutes"), pending=claimed)
old_revisions = broken("old_revisions", "delivers old revisions", OldRevisions)

WRAPPERS: dict[str, Callable[[Gateway, Counter], Gateway]] = {"lossy": Lossy, "duplicating": Duplicating}


def main() -> None:
    name, settings = sys.argv[1], Settings.from_environment()
    wrapper = WRAPPERS.get(name)
    if wrapper is not None:
        counter = Counter(settings.deliveries.with_suffix(".count"))
        vars(reference)["gateway_from"] = lambda settings: wrapper(gateway_from(settings), counter)
    if name == "slow_rescue":
        serve_with_claims(settings)
    broker = redis.Redis.from_url(settings.broker_url)
    with suppress(redis.RedisError):
        broker.ping()
    started_before = Path("started")
    if name == "amnesiac" and started_before.exists():
        forget_everything(settings)
    started_before.touch()
    reference.serve(settings)


if __name__ == "__main__":
    main()
