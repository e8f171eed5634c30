"""What every design's scheduler must do, held against its own store: no server is running."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime import registry
from duetime.interface import Design, Notification, Scheduler
from duetime.settings import Settings

SOON = datetime.now(UTC) + timedelta(minutes=5)
NOTE = Notification(key="a:b/c", revision=1, kind="test", recipient="a@b.example", due_at=SOON, payload={"x": [1]})

# The poller's schedule() does nothing by design: what it would deliver is in the application's tables.
WITH_A_STORE = [name for name in registry.names() if not name.startswith("pull_worker")]


@pytest.fixture(params=WITH_A_STORE)
def design(request: pytest.FixtureRequest) -> Design:
    return registry.load(request.param)


@pytest.fixture
def scheduler(
    design: Design, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scheduler]:
    for name, value in replace(settings, design=design.name).environment().items():
        monkeypatch.setenv(name, value)
    design.install(engine)
    design.install(engine)  # safe to repeat
    yield design.scheduler(settings)


def test_what_a_commit_scheduled_is_pending_under_its_key_and_revision(
    design: Design, scheduler: Scheduler, settings: Settings, engine: Engine
) -> None:
    with Session(engine) as session:
        scheduler.schedule(NOTE, session=session)
        session.commit()

    assert [left.op for left in design.pending(settings, engine)] == ["a:b/c/1"]


def test_what_was_rolled_back_is_not_pending(
    design: Design, scheduler: Scheduler, settings: Settings, engine: Engine
) -> None:
    with Session(engine) as session:
        scheduler.schedule(NOTE, session=session)
        session.rollback()
        session.commit()

    assert list(design.pending(settings, engine)) == []


def test_a_cancel_that_a_design_promises_to_keep_leaves_nothing_pending(
    design: Design, scheduler: Scheduler, settings: Settings, engine: Engine
) -> None:
    if not design.guarantees.cancels:
        pytest.skip(f"{design.name} promises no more than to ask the workers that are up")
    with Session(engine) as session:
        scheduler.schedule(NOTE, session=session)
        session.commit()
        scheduler.cancel(NOTE.key, revision=2, session=session)
        session.commit()

    assert list(design.pending(settings, engine)) == []


def test_a_newer_revision_replaces_the_older_where_cancels_hold(
    design: Design, scheduler: Scheduler, settings: Settings, engine: Engine
) -> None:
    if not design.guarantees.cancels:
        pytest.skip(f"{design.name} leaves the older message in the broker and asks the workers to skip it")
    with Session(engine) as session:
        scheduler.schedule(replace(NOTE, revision=2), session=session)
        scheduler.schedule(NOTE, session=session)
        session.commit()

    assert [left.op for left in design.pending(settings, engine)] == ["a:b/c/2"]
