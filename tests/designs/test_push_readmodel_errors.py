"""What a running drain does about each kind of error of the database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import OperationalError

from push_readmodel import database_errors
from push_readmodel.database_errors import ending, retried
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.schema import metadata
from tests.designs.read_model import RecordingGateway, note, schedule, stored
from tests.eventually import assert_eventually


@pytest.fixture(autouse=True)
def _table(engine: Engine) -> None:
    metadata.create_all(engine)


def raised(engine: Engine, statements: str) -> psycopg.Error:
    """Return the error with which PostgreSQL answers `statements`."""
    with engine.connect() as connection, pytest.raises(psycopg.Error) as caught:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        driver.execute(statements)
    return caught.value


RAISE = "DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{}'; END $$"


@pytest.mark.parametrize(
    ("sqlstate", "sentence"),
    [
        ("40001", database_errors.ROLLED_BACK),
        ("40P01", database_errors.ROLLED_BACK),
        ("57014", database_errors.TIME_LIMIT),
        ("55P03", database_errors.TIME_LIMIT),
        ("25P03", database_errors.TIME_LIMIT),
        ("25P04", database_errors.TIME_LIMIT),
        ("25006", database_errors.READ_ONLY),
        ("42P05", database_errors.MIXED_SESSIONS),
        ("26000", database_errors.MIXED_SESSIONS),
        ("53100", database_errors.OUT_OF_RESOURCES),
        ("53300", database_errors.OUT_OF_RESOURCES),
        ("58030", database_errors.SERVER_FAILED),
        ("57P01", database_errors.NO_CONNECTION),
        ("08006", database_errors.NO_CONNECTION),
    ],
)
def test_an_error_that_a_new_connection_may_cure_is_retried_under_its_own_name(
    engine: Engine, sqlstate: str, sentence: str
) -> None:
    error = raised(engine, RAISE.format(sqlstate))

    assert error.sqlstate == sqlstate
    assert retried(error) == sentence
    assert ending(error) is None or sqlstate == "42P05"


@pytest.mark.parametrize("sqlstate", ["42501", "42P01", "42703", "42804", "22P02", "23514", "0A000"])
def test_an_error_that_only_a_person_can_cure_ends_the_worker_with_a_reason(engine: Engine, sqlstate: str) -> None:
    error = raised(engine, RAISE.format(sqlstate))

    assert retried(error) is None
    assert ending(error)


def test_a_refused_connection_is_retried(tmp_path: object) -> None:
    unreachable = create_engine(f"postgresql+psycopg://postgres@/nowhere?host={tmp_path}")
    with pytest.raises(OperationalError) as caught:
        unreachable.connect()

    assert retried(caught.value) == database_errors.NO_CONNECTION


def test_an_error_of_another_library_is_not_the_databases() -> None:
    assert retried(ConnectionError("of the gateway")) is None
    assert ending(ConnectionError("of the gateway")) is None


@contextmanager
def running_loop(engine: Engine, gateway: RecordingGateway) -> Iterator[list[Exception]]:
    """Run a loop in a thread. Yields a list that receives the error with which it ended."""
    errors: list[Exception] = []
    loop = DrainLoop(engine, gateway)

    def run() -> None:
        try:
            loop.run()
        except Exception as error:  # noqa: BLE001 - the test asserts on it
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield errors
    finally:
        loop.stop()
        thread.join(timeout=10)


def execute(engine: Engine, statements: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(statements)


def test_a_changed_column_type_is_planned_again(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    gateway = RecordingGateway()
    with caplog.at_level(logging.WARNING), running_loop(engine, gateway) as errors:
        schedule(engine, note("before"))
        assert_eventually(lambda: stored(engine) == [], within_s=10)
        execute(engine, "ALTER TABLE pending_notifications ALTER COLUMN kind TYPE varchar(50)")
        schedule(engine, note("after"))
        assert_eventually(lambda: stored(engine) == [], within_s=10)

    assert errors == []
    assert gateway.ops == ["before/1", "after/1"]
    assert database_errors.CHANGED_TABLE in caplog.text
    assert database_errors.NO_CONNECTION not in caplog.text


def test_a_deadlock_with_an_administrator_is_retried_and_not_called_an_outage(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """A trigger raises what PostgreSQL raises for the victim of a deadlock, once."""
    execute(
        engine,
        "CREATE SEQUENCE tries; "
        "CREATE FUNCTION deadlock_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('tries') = 3 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF; "
        "RETURN OLD; END $$; "
        "CREATE TRIGGER deadlock AFTER DELETE ON pending_notifications FOR EACH ROW EXECUTE FUNCTION deadlock_once()",
    )
    schedule(engine, *(note(f"k{number}") for number in range(5)))
    gateway = RecordingGateway()
    with caplog.at_level(logging.WARNING), running_loop(engine, gateway) as errors:
        assert_eventually(lambda: stored(engine) == [], within_s=10)

    assert errors == []
    assert set(gateway.ops) == {f"k{number}/1" for number in range(5)}
    assert database_errors.ROLLED_BACK in caplog.text
    assert database_errors.NO_CONNECTION not in caplog.text


def test_a_table_that_disappears_ends_the_loop(engine: Engine) -> None:
    gateway = RecordingGateway()
    with running_loop(engine, gateway) as errors:
        schedule(engine, note("a"))
        assert_eventually(lambda: stored(engine) == [], within_s=10)
        execute(engine, "ALTER TABLE pending_notifications RENAME TO renamed")
        execute(engine, "NOTIFY pending_notifications")
        assert_eventually(lambda: len(errors) == 1, within_s=10)

    assert ending(errors[0]) is not None
