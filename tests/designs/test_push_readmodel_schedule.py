"""The rows that schedule() and cancel() leave in the read model."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from duetime.errors import RevisionReused
from duetime.settings import Settings
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from push_readmodel.status import status
from tests.designs.read_model import FAR, give_up, given_up, note, schedule, stored


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


@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres, MDY"])
def test_a_repeated_call_is_harmless_whatever_the_style_of_dates(engine: Engine, style: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {engine.url.database} SET DateStyle = '{style}'")
    repeated = note("a", due_at=FAR.replace(microsecond=123456))

    schedule(engine, repeated)
    schedule(engine, repeated)

    assert stored(engine) == ["a/1"]
    with pytest.raises(RevisionReused):
        schedule(engine, note("a", due_at=FAR))


def test_an_application_is_not_disturbed_by_an_older_installation(engine: Engine, settings: Settings) -> None:
    """Without the table of given-up notifications."""
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE failed_notifications")
    schedule(engine, note("a", due_at=FAR), note("b", due_at=FAR))

    with Session(engine) as session:
        session.execute(text("CREATE TABLE business (change text)"))
        ReadModelScheduler().cancel("a", revision=2, session=session)
        session.commit()

    assert stored(engine) == ["b/1"]
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM business").scalar_one() == 0
    figures = status(settings, engine)
    assert (figures.pending, figures.given_up) == (1, None)
    assert "duetime install" in figures.note
