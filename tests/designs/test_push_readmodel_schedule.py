"""The rows that schedule() and cancel() leave in the read model."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from duetime.errors import RevisionReused
from duetime.settings import Settings
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.metrics import TableCollector
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from push_readmodel.status import figures_of_table, status
from tests.designs.read_model import FAR, RecordingGateway, give_up, given_up, note, running, schedule, stored


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


@pytest.mark.parametrize("due_at", ["infinity", "-infinity", "294276-12-31 00:00Z", "0044-03-15 00:00Z BC"])
def test_a_repeated_call_over_a_row_of_a_time_that_python_does_not_know_is_refused(engine: Engine, due_at: str) -> None:
    schedule(engine, note("a", due_at=FAR))
    with engine.begin() as connection:
        connection.execute(text("UPDATE pending_notifications SET due_at = CAST(:due AS timestamptz)"), {"due": due_at})

    with Session(engine) as session:
        ReadModelScheduler().schedule(note("b", due_at=FAR), session=session)
        with pytest.raises(RevisionReused, match="due_at"):
            ReadModelScheduler().schedule(note("a", due_at=FAR), session=session)
        session.commit()

    assert stored(engine) == ["a/1", "b/1"]


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
    assert gauges(settings, engine) == {"duetime_pending": 1}


def test_a_role_that_may_not_read_what_was_given_up_sees_the_other_figures(engine: Engine, settings: Settings) -> None:
    give_up(engine, "a")
    assert gauges(settings, engine) == {"duetime_pending": 0, "duetime_given_up": 1}
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE ROLE reads_pending LOGIN; GRANT SELECT ON pending_notifications TO reads_pending"
        )
    try:
        reader = create_engine(make_url(settings.database_url).set(username="reads_pending"), poolclass=NullPool)

        assert "may not SELECT from failed_notifications" in figures_of_table(settings, reader).note
        assert gauges(settings, reader) == {"duetime_pending": 0}
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP OWNED BY reads_pending; DROP ROLE reads_pending")


def test_a_worker_warns_once_of_an_older_installation(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE failed_notifications")
    schedule(engine, note("a"))
    gateway = RecordingGateway()

    with running(DrainLoop(engine, gateway)):
        assert gateway.delivered.wait(timeout=10)

    warnings = [record.message for record in caplog.records if "failed_notifications" in record.message]
    assert len(warnings) == 1 and "duetime install push_readmodel" in warnings[0]


def gauges(settings: Settings, engine: Engine) -> dict[str, float]:
    """Return the scraped numbers of pending and of given-up notifications."""
    scraped = {family.name: family.samples[0].value for family in TableCollector(settings, engine).collect()}
    return {name: scraped[name] for name in ("duetime_pending", "duetime_given_up") if name in scraped}
