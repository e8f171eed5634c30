"""What the scheduler of every design must do, without any worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime import registry
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
