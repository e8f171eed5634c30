"""The rows that schedule() and cancel() leave in the read model."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from tests.designs.read_model import give_up, given_up, note, schedule, stored


@pytest.fixture(autouse=True)
def _table(engine: Engine) -> None:
    metadata.create_all(engine)


def cancel(engine: Engine, key: str, *, revision: int) -> None:
    with Session(engine) as session:
        ReadModelScheduler().cancel(key, revision=revision, session=session)
        session.commit()


def test_a_rolled_back_notification_is_not_scheduled(engine: Engine) -> None:
    with Session(engine) as session:
        ReadModelScheduler().schedule(note("a"), session=session)
        session.rollback()

    assert stored(engine) == []


def test_the_newer_revision_wins_in_either_order(engine: Engine) -> None:
    schedule(engine, note("a", revision=1), note("a", revision=2))
    schedule(engine, note("b", revision=2), note("b", revision=1))

    assert stored(engine) == ["a/2", "b/2"]


def test_a_cancel_removes_older_revisions_and_keeps_newer_ones(engine: Engine) -> None:
    schedule(engine, note("a", revision=1), note("b", revision=3))

    cancel(engine, "a", revision=2)
    cancel(engine, "b", revision=2)

    assert stored(engine) == ["b/3"]


def test_schedule_many_stores_the_newest_revision_of_each_key(engine: Engine) -> None:
    with Session(engine) as session:
        many = [note("b", revision=2), note("a"), note("b", revision=3), note("b", revision=1)]
        ReadModelScheduler().schedule_many(many, session=session)
        ReadModelScheduler().schedule_many([], session=session)
        session.commit()

    assert stored(engine) == ["a/1", "b/3"]


def test_a_cancel_removes_older_revisions_that_were_given_up_and_a_schedule_leaves_them(engine: Engine) -> None:
    for key, revision in (("a", 1), ("b", 1), ("c", 3)):
        give_up(engine, key, revision=revision)

    schedule(engine, note("a", revision=2))
    cancel(engine, "b", revision=2)
    cancel(engine, "c", revision=3)

    assert (stored(engine), given_up(engine)) == (["a/2"], ["a/1", "c/3"])
