"""What the scheduler of every design must do, without any worker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from sqlalchemy.orm.session import JoinTransactionMode

from duetime import registry
from duetime.errors import JoinedTransaction
from duetime.interface import Design, Notification, Scheduler
from duetime.settings import Settings

DUE_AT = datetime.now(UTC) + timedelta(minutes=5)
NOTE = Notification(key="a:b/c", revision=1, kind="test", recipient="a@b.example", due_at=DUE_AT, payload={"x": [1]})

# Not the poller: its schedule() stores nothing, because it reads the application's tables.
WITH_A_STORE = [name for name in registry.names() if not name.startswith("pull_worker")]

PendingOps = Callable[[], list[str]]


@pytest.fixture(params=WITH_A_STORE)
def design(request: pytest.FixtureRequest) -> Design:
    return registry.load(request.param)


@pytest.fixture
def scheduler(design: Design, settings: Settings, engine: Engine) -> Scheduler:
    design.install(engine)
    design.install(engine)  # safe to repeat
    return design.scheduler(replace(settings, design=design.name))


@pytest.fixture
def pending_ops(design: Design, settings: Settings, engine: Engine) -> PendingOps:
    return lambda: [pending.op for pending in design.pending(settings, engine)]


def test_a_notification_is_pending_after_the_commit(
    scheduler: Scheduler, engine: Engine, pending_ops: PendingOps
) -> None:
    with Session(engine) as session:
        scheduler.schedule(NOTE, session=session)
        session.commit()

    assert pending_ops() == ["a:b/c/1"]


def test_a_notification_is_not_pending_after_a_rollback(
    scheduler: Scheduler, engine: Engine, pending_ops: PendingOps
) -> None:
    with Session(engine) as session:
        scheduler.schedule(NOTE, session=session)
        session.rollback()
        session.commit()

    assert pending_ops() == []


def test_only_what_no_savepoint_rolled_back_is_pending_and_only_after_the_outermost_commit(
    scheduler: Scheduler, engine: Engine, pending_ops: PendingOps
) -> None:
    def schedule(key: str) -> None:
        scheduler.schedule(replace(NOTE, key=key), session=session)

    with Session(engine) as session:
        schedule("before")
        with session.begin_nested():
            schedule("released")
            with session.begin_nested():
                schedule("released inside")
            with session.begin_nested() as savepoint:
                schedule("rolled back inside")
                savepoint.rollback()
        with session.begin_nested() as savepoint:
            schedule("rolled back")
            with session.begin_nested():
                schedule("released inside a savepoint that is rolled back")
            savepoint.rollback()
        schedule("after")
        before_the_commit = pending_ops()
        session.commit()

    assert before_the_commit == []
    assert sorted(pending_ops()) == ["after/1", "before/1", "released inside/1", "released/1"]


def test_a_released_savepoint_is_not_pending_after_the_transaction_is_rolled_back(
    scheduler: Scheduler, engine: Engine, pending_ops: PendingOps
) -> None:
    with Session(engine) as session:
        with session.begin_nested():
            scheduler.schedule(NOTE, session=session)
        session.rollback()
        session.commit()

    assert pending_ops() == []


def test_a_cancel_in_a_savepoint_that_is_rolled_back_cancels_nothing(
    design: Design, scheduler: Scheduler, engine: Engine, pending_ops: PendingOps
) -> None:
    with Session(engine) as session:
        scheduler.schedule(NOTE, session=session)
        session.commit()
        with session.begin_nested() as savepoint:
            scheduler.cancel(NOTE.key, revision=2, session=session)
            savepoint.rollback()
        session.commit()

    assert pending_ops() == ["a:b/c/1"]


def test_nothing_is_pending_after_a_test_suite_rolled_the_connection_back(
    scheduler: Scheduler, engine: Engine, pending_ops: PendingOps
) -> None:
    modes: list[JoinTransactionMode] = ["conditional_savepoint", "create_savepoint", "rollback_only"]
    for mode in modes:
        with engine.connect() as connection, connection.begin() as transaction:
            with Session(connection, join_transaction_mode=mode) as session, suppress(JoinedTransaction):
                scheduler.schedule(NOTE, session=session)
                session.commit()
            transaction.rollback()

    assert pending_ops() == []


def test_a_cancelled_notification_is_not_pending_where_cancels_are_guaranteed(
    design: Design, scheduler: Scheduler, engine: Engine, pending_ops: PendingOps
) -> None:
    if not design.guarantees.cancels:
        pytest.skip(f"{design.name} only asks the running workers to skip a cancelled notification")
    with Session(engine) as session:
        scheduler.schedule(NOTE, session=session)
        session.commit()
        scheduler.cancel(NOTE.key, revision=2, session=session)
        session.commit()

    assert pending_ops() == []


def test_a_newer_revision_replaces_the_older_where_cancels_are_guaranteed(
    design: Design, scheduler: Scheduler, engine: Engine, pending_ops: PendingOps
) -> None:
    if not design.guarantees.cancels:
        pytest.skip(f"{design.name} leaves the older message in the broker and asks the workers to skip it")
    with Session(engine) as session:
        scheduler.schedule(replace(NOTE, revision=2), session=session)
        scheduler.schedule(NOTE, session=session)
        session.commit()

    assert pending_ops() == ["a:b/c/2"]
