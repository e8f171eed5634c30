"""The bounded wait of schedule() and cancel() for a row that a worker is delivering."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from duetime import registry
from duetime.errors import BadUsage, ScheduleRejected, StillBeingDelivered
from duetime.runtime.lock_wait import still_being_delivered
from duetime.settings import Settings
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from tests.designs.read_model import note, schedule, stored

WAIT = timedelta(seconds=0.1)
READ_MODEL = ReadModelScheduler(WAIT)


@pytest.fixture(autouse=True)
def _table(engine: Engine) -> None:
    metadata.create_all(engine)


@contextmanager
def locked(engine: Engine, key: str) -> Iterator[None]:
    """Hold the row of `key` locked, as a drain does while its gateway hangs."""
    with engine.begin() as worker:
        worker.execute(text("SELECT FROM pending_notifications WHERE key = :key FOR UPDATE"), {"key": key})
        yield


def give_up_after_5_s(session: Session) -> None:
    """End a wait that is not bounded with another error."""
    session.execute(text("SET LOCAL statement_timeout = '5s'"))


def lock_timeout(session: Session) -> str:
    return str(session.scalar(text("SHOW lock_timeout")))


def test_schedule_of_a_row_that_stays_locked_ends_with_its_key_and_the_wait(engine: Engine) -> None:
    schedule(engine, note("a"))

    with (
        locked(engine, "a"),
        Session(engine) as session,
        pytest.raises(StillBeingDelivered, match=r"row of 'a' stayed locked for 100ms.*Roll back, and call again"),
    ):
        give_up_after_5_s(session)
        READ_MODEL.schedule(note("a", revision=2), session=session)

    # A client that gives up after ScheduleRejected must try this call again.
    assert not issubclass(StillBeingDelivered, ScheduleRejected)


def test_schedule_many_names_the_keys_among_which_the_locked_one_is(engine: Engine) -> None:
    schedule(engine, note("b"))

    with (
        locked(engine, "b"),
        Session(engine) as session,
        pytest.raises(StillBeingDelivered, match="one of 3 notifications from 'a' to 'c'"),
    ):
        READ_MODEL.schedule_many([note("c"), note("b", revision=2), note("a")], session=session)

    assert stored(engine) == ["b/1"]


def test_cancel_of_a_row_that_stays_locked_ends_too_and_can_be_repeated(engine: Engine) -> None:
    schedule(engine, note("a"))

    with Session(engine) as session:
        give_up_after_5_s(session)
        with locked(engine, "a"), pytest.raises(StillBeingDelivered, match="'a'"):
            READ_MODEL.cancel("a", revision=2, session=session)
        session.rollback()
        READ_MODEL.cancel("a", revision=2, session=session)
        session.commit()

    assert stored(engine) == []


def test_other_keys_are_not_delayed(engine: Engine) -> None:
    schedule(engine, note("a"))

    with locked(engine, "a"), Session(engine) as session:
        READ_MODEL.schedule(note("b"), session=session)
        READ_MODEL.cancel("c", revision=2, session=session)
        session.commit()

    assert stored(engine) == ["a/1", "b/1"]


def test_the_callers_lock_timeout_is_its_own_again_after_a_call(engine: Engine) -> None:
    schedule(engine, note("a", revision=3))
    # One connection, because a setting of the session ends with it.
    with engine.connect() as connection, Session(connection) as session:
        for callers in ("0", "30s", "50ms", "1h"):
            session.execute(text(f"SET lock_timeout = '{callers}'"))
            READ_MODEL.schedule(note("b"), session=session)
            assert lock_timeout(session) == callers
            READ_MODEL.schedule(note("a"), session=session)  # writes nothing
            assert lock_timeout(session) == callers
            READ_MODEL.cancel("b", revision=2, session=session)
            assert lock_timeout(session) == callers
            READ_MODEL.cancel("nothing", revision=2, session=session)
            assert lock_timeout(session) == callers
            session.commit()
            assert lock_timeout(session) == callers


def test_a_local_lock_timeout_of_the_caller_ends_with_its_transaction(engine: Engine) -> None:
    with engine.connect() as connection, Session(connection) as session:
        session.execute(text("SET lock_timeout = '7s'"))
        session.commit()
        session.execute(text("SET LOCAL lock_timeout = '9s'"))
        READ_MODEL.schedule(note("a"), session=session)
        assert lock_timeout(session) == "9s"
        session.commit()
        assert lock_timeout(session) == "7s"


def test_a_shorter_lock_timeout_of_the_caller_holds(engine: Engine) -> None:
    schedule(engine, note("a"))

    with locked(engine, "a"), Session(engine) as session:
        give_up_after_5_s(session)
        session.execute(text("SET LOCAL lock_timeout = '20ms'"))
        with pytest.raises(StillBeingDelivered):
            ReadModelScheduler(timedelta(minutes=10)).schedule(note("a", revision=2), session=session)


def test_a_savepoint_keeps_the_callers_transaction_usable(engine: Engine) -> None:
    schedule(engine, note("a"))

    with Session(engine) as session:
        READ_MODEL.schedule(note("b"), session=session)
        with locked(engine, "a"), pytest.raises(StillBeingDelivered), session.begin_nested():
            READ_MODEL.schedule(note("a", revision=2), session=session)
        assert lock_timeout(session) == "0"
        READ_MODEL.schedule(note("a", revision=2), session=session)
        session.commit()

    assert stored(engine) == ["a/2", "b/1"]


LOCKED_WHILE_DELIVERED = {
    "push_readmodel": "pending_notifications",
    "oban_style_queue:hardened": "wanted_notifications",
    "reference": "reference",
}


@pytest.mark.parametrize("name", LOCKED_WHILE_DELIVERED)
def test_every_design_that_locks_while_it_delivers_waits_as_long_as_the_variable_says(
    name: str, engine: Engine, settings: Settings
) -> None:
    design = registry.load(name)
    design.install(engine)
    variables = settings.environment() | {"DUETIME_DESIGN": name, "DUETIME_SCHEDULE_WAIT_S": "0.1"}
    scheduler = design.scheduler(Settings.from_environment(variables))
    with Session(engine) as session:
        scheduler.schedule(note("a"), session=session)
        session.commit()

    with engine.begin() as worker, Session(engine) as session:
        worker.execute(text(f"SELECT FROM {LOCKED_WHILE_DELIVERED[name]} FOR UPDATE"))
        give_up_after_5_s(session)
        with pytest.raises(StillBeingDelivered, match="'a' stayed locked for 100ms"):
            scheduler.schedule(note("a", revision=2), session=session)
        session.rollback()
        give_up_after_5_s(session)
        with pytest.raises(StillBeingDelivered, match="'a' stayed locked for 100ms"):
            scheduler.cancel("a", revision=3, session=session)
        session.rollback()
        scheduler.schedule(note("b"), session=session)
        assert lock_timeout(session) == "0"


@pytest.mark.parametrize("name", ["sqlstate", "pgcode"])
def test_the_code_of_the_error_is_read_from_every_driver(name: str) -> None:
    """psycopg2, which an application may use and this project does not install, calls it pgcode."""
    of_driver = Exception("canceling statement due to lock timeout")
    setattr(of_driver, name, "55P03")

    with pytest.raises(StillBeingDelivered), still_being_delivered("'a'", "100ms"):
        raise OperationalError("UPDATE", {}, of_driver)


def test_an_application_on_psycopg2_gets_the_same_error(engine: Engine, settings: Settings) -> None:
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed; pip install psycopg2-binary")
    schedule(engine, note("a"))
    url = make_url(settings.database_url).set(drivername="postgresql+psycopg2")

    with locked(engine, "a"), Session(create_engine(url, poolclass=NullPool)) as session:
        give_up_after_5_s(session)
        with pytest.raises(StillBeingDelivered, match="'a' stayed locked for 100ms"):
            READ_MODEL.schedule(note("a", revision=2), session=session)
        session.rollback()
        give_up_after_5_s(session)
        with pytest.raises(StillBeingDelivered, match="'a' stayed locked for 100ms"):
            READ_MODEL.cancel("a", revision=2, session=session)


@pytest.mark.parametrize("wait", [timedelta(0), timedelta(seconds=-1), timedelta(days=30)])
def test_a_wait_that_postgresql_cannot_keep_is_refused(wait: timedelta) -> None:
    with pytest.raises(BadUsage, match=r"set DUETIME_SCHEDULE_WAIT_S to a number from 0.001 to 2073600"):
        ReadModelScheduler(wait)
