"""The same key and revision again: harmless while pending; with another content, refused where the store can tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime import registry
from duetime.errors import RevisionReused, ScheduleRejected
from duetime.interface import Design, Notification, Scheduler
from duetime.settings import Settings

DUE_AT = datetime.now(UTC) + timedelta(minutes=5)
NOTE = Notification(key="a", revision=2, kind="test", recipient="a@b.example", due_at=DUE_AT, payload={"x": [1, 2.5]})
OTHER = replace(NOTE, recipient="other@b.example")
KEEPS_THE_CONTENT = ["push_readmodel", "push_readmodel:delete_first", "oban_style_queue:staged", "reference"]
"""The others keep it in the broker, which cannot tell."""


@pytest.fixture(params=[*KEEPS_THE_CONTENT, "oban_style_queue", "oban_style_queue:hardened"])
def design(request: pytest.FixtureRequest, engine: Engine) -> Design:
    design = registry.load(request.param)
    design.install(engine)
    return design


@pytest.fixture
def scheduler(design: Design, settings: Settings) -> Scheduler:
    return design.scheduler(settings)


def test_a_call_repeated_in_its_transaction_is_pending_once(
    design: Design, scheduler: Scheduler, settings: Settings, engine: Engine
) -> None:
    # The same instant in another zone, and an equal number of another type, are the same content.
    again = replace(NOTE, due_at=DUE_AT.astimezone(timezone(timedelta(hours=3))), payload={"x": [1.0, 2.5]})
    with Session(engine) as session:
        scheduler.schedule_many([NOTE, again, replace(NOTE, revision=1)], session=session)
        scheduler.schedule(again, session=session)
        session.commit()

    pending = [one.op for one in design.pending(settings, engine)]
    assert pending == ["a/2"]


def test_a_call_repeated_after_the_commit_is_pending_once_but_in_the_plain_queue(
    design: Design, scheduler: Scheduler, settings: Settings, engine: Engine
) -> None:
    for _ in range(2):
        with Session(engine) as session:
            scheduler.schedule(NOTE, session=session)
            session.commit()

    pending = [one.op for one in design.pending(settings, engine)]
    # Celery accepts a task id twice: docs/contract.md says so.
    assert pending == (["a/2"] if design.guarantees.unique_by_key else ["a/2", "a/2"])
    assert design.guarantees.unique_by_key == (design.name != "oban_style_queue")


def test_equal_revisions_with_another_content_in_one_call_are_refused_before_anything_is_written(
    design: Design, scheduler: Scheduler, settings: Settings, engine: Engine
) -> None:
    with Session(engine) as session:
        scheduler.schedule(replace(NOTE, key="before"), session=session)
        with pytest.raises(RevisionReused, match=r"revision 2 of 'a'.*recipient 'a@b.example', now 'other@b.example'"):
            # Not even with a newer revision beside them, which would win.
            scheduler.schedule_many([replace(NOTE, key="b"), NOTE, replace(NOTE, revision=3), OTHER], session=session)
        session.commit()

    assert [one.op for one in design.pending(settings, engine)] == ["before/2"]


def test_an_equal_revision_with_another_content_than_the_stored_one_is_refused_with_both(
    design: Design, scheduler: Scheduler, settings: Settings, engine: Engine
) -> None:
    if design.name not in KEEPS_THE_CONTENT:
        pytest.skip("the broker keeps the content, and cannot tell")
    changes = {
        "recipient": (OTHER, "recipient 'a@b.example', now 'other@b.example'"),
        "kind": (replace(NOTE, kind="else"), "kind 'test', now 'else'"),
        "due_at": (replace(NOTE, due_at=DUE_AT + timedelta(microseconds=1)), r"due_at 20\S+, now 20"),
        "payload": (replace(NOTE, payload={"x": []}), r"payload \{'x': \[1, 2.5\]\}, now \{'x': \[\]\}"),
        "true": (replace(NOTE, payload={"x": [True, 2.5]}), r"payload .*, now \{'x': \[True, 2.5\]\}"),
    }
    assert issubclass(RevisionReused, ScheduleRejected)
    with Session(engine) as session:
        scheduler.schedule(NOTE, session=session)
        session.commit()
        for other, message in changes.values():
            with pytest.raises(RevisionReused, match=message):
                scheduler.schedule(other, session=session)
        scheduler.schedule(replace(OTHER, revision=1), session=session)  # an older one changes nothing
        scheduler.schedule(replace(NOTE, key="b"), session=session)  # the transaction is intact
        session.commit()

    assert sorted(one.op for one in design.pending(settings, engine)) == ["a/2", "b/2"]
