"""Tables, roles and settings that would make the drain lose, repeat or stall."""

from __future__ import annotations

import logging
import threading
from contextlib import closing

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

from push_readmodel.connection import connect
from push_readmodel.drain import Drain, drain
from push_readmodel.guards import TableRefused
from push_readmodel.schema import metadata
from tests.designs.read_model import RecordingGateway, note, schedule, stored

KEEP = """
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER keeps_rows BEFORE {} ON pending_notifications FOR EACH ROW EXECUTE FUNCTION keep()
"""


@pytest.fixture(autouse=True)
def _table(engine: Engine) -> None:
    metadata.create_all(engine)


def execute(engine: Engine, statements: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(statements)


def set_by_default(engine: Engine, setting: str, value: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {engine.url.database} SET {setting} = {value}")


@pytest.mark.parametrize("event", ["DELETE", "UPDATE"])
def test_a_trigger_that_keeps_rows_is_found_before_the_first_delivery(engine: Engine, event: str) -> None:
    execute(engine, KEEP.format(event))
    schedule(engine, *(note(f"k{number}") for number in range(5)))
    gateway = RecordingGateway(refuse="a@b.example" if event == "UPDATE" else "")

    with pytest.raises(TableRefused, match="a trigger that keeps the row"):
        drain(engine, gateway)

    assert gateway.attempts == []
    assert len(stored(engine)) == 5


@pytest.mark.parametrize("event", ["DELETE", "UPDATE"])
def test_a_trigger_that_appears_later_ends_the_drain_after_one_batch(engine: Engine, event: str) -> None:
    gateway = RecordingGateway(refuse="a@b.example" if event == "UPDATE" else "")
    with closing(Drain(connect(engine), gateway)) as draining:
        draining.drain_all()
        execute(engine, KEEP.format(event))
        schedule(engine, *(note(f"k{number}") for number in range(5)))

        with pytest.raises(TableRefused, match=r"of \d rows .* still stored: 'k0'"):
            draining.drain_all()

    # The first batch of a drain is one row.
    assert gateway.attempts == [1]


def test_a_trigger_that_does_not_keep_rows_is_only_named(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    execute(engine, KEEP.format("DELETE").replace("RETURN NULL", "RETURN OLD"))
    schedule(engine, note("a"))

    with caplog.at_level(logging.WARNING):
        assert drain(engine, RecordingGateway()) == 1

    assert "keeps_rows" in caplog.text
    assert stored(engine) == []


INSERT_AGAIN = """
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO pending_notifications {}; RETURN NULL; END';
"""
BACK = {
    "after row": INSERT_AGAIN.format("SELECT old.*")
    + "CREATE TRIGGER back AFTER DELETE ON pending_notifications FOR EACH ROW EXECUTE FUNCTION f()",
    "deferred": INSERT_AGAIN.format("SELECT old.*")
    + "CREATE CONSTRAINT TRIGGER back AFTER DELETE ON pending_notifications DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION f()",
    "after statement": INSERT_AGAIN.format("SELECT * FROM gone")
    + "CREATE TRIGGER back AFTER DELETE ON pending_notifications REFERENCING OLD TABLE AS gone "
    "FOR EACH STATEMENT EXECUTE FUNCTION f()",
}


@pytest.mark.parametrize("statements", BACK.values(), ids=BACK)
@pytest.mark.parametrize("stored_at_start", [True, False], ids=["stored at the start", "later"])
def test_a_trigger_that_inserts_deleted_rows_again_ends_the_drain(
    engine: Engine, statements: str, stored_at_start: bool
) -> None:
    execute(engine, statements)
    notes = [note(f"k{number}") for number in range(5)]
    if stored_at_start:
        schedule(engine, *notes)
    gateway = RecordingGateway()

    with pytest.raises(TableRefused, match="inserts it again"), closing(Drain(connect(engine), gateway)) as draining:
        schedule(engine, *notes)
        draining.drain_all()

    # Found at the start by a trial, or after the first batch, which is one row.
    assert len(gateway.ops) == (0 if stored_at_start else 1)


def test_a_trigger_that_resets_the_time_of_the_next_attempt_ends_the_drain(engine: Engine) -> None:
    execute(
        engine,
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.attempt_at = new.due_at; RETURN new; END'; "
        "CREATE TRIGGER reset BEFORE UPDATE ON pending_notifications FOR EACH ROW EXECUTE FUNCTION f()",
    )
    gateway = RecordingGateway(refuse="a@b.example")

    for _ in range(2):
        with pytest.raises(TableRefused, match="put back"), closing(Drain(connect(engine), gateway)) as draining:
            schedule(engine, note("a"))
            draining.drain_all()

    assert gateway.attempts == [1]


def test_a_rule_on_delete_is_refused(engine: Engine) -> None:
    schedule(engine, note("a"))
    execute(engine, "CREATE RULE archive AS ON DELETE TO pending_notifications DO INSTEAD NOTHING")
    gateway = RecordingGateway()

    with pytest.raises(TableRefused, match="rules archive"):
        drain(engine, gateway)

    assert gateway.ops == []


@pytest.fixture
def as_worker(engine: Engine) -> Engine:
    """An engine that connects as a role without privileges of its own."""
    execute(engine, "DROP ROLE IF EXISTS duetime_worker; CREATE ROLE duetime_worker LOGIN")
    return create_engine(engine.url.set(username="duetime_worker"), poolclass=NullPool)


@pytest.mark.parametrize(
    ("granted", "missing"),
    [("SELECT", "UPDATE, DELETE"), ("SELECT, UPDATE", "DELETE"), ("INSERT", "SELECT, UPDATE, DELETE")],
)
def test_a_role_without_a_privilege_is_refused_with_the_grant_that_it_needs(
    engine: Engine, as_worker: Engine, granted: str, missing: str
) -> None:
    schedule(engine, note("a"))
    execute(engine, f"GRANT {granted} ON pending_notifications TO duetime_worker")
    gateway = RecordingGateway()

    with pytest.raises(TableRefused, match=rf"may not {missing} on .*GRANT SELECT, UPDATE, DELETE"):
        drain(as_worker, gateway)
    assert gateway.ops == []

    execute(engine, "GRANT SELECT, UPDATE, DELETE ON pending_notifications TO duetime_worker")
    assert drain(as_worker, gateway) == 1


def test_row_level_security_that_hides_rows_is_refused(engine: Engine, as_worker: Engine) -> None:
    schedule(engine, note("a"))
    execute(engine, "GRANT SELECT, UPDATE, DELETE ON pending_notifications TO duetime_worker")
    execute(engine, "ALTER TABLE pending_notifications ENABLE ROW LEVEL SECURITY")

    with pytest.raises(TableRefused, match="BYPASSRLS"):
        drain(as_worker, RecordingGateway())

    execute(engine, "ALTER ROLE duetime_worker BYPASSRLS")
    assert drain(as_worker, RecordingGateway()) == 1


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ("DROP TABLE pending_notifications", "duetime install"),
        (
            "ALTER TABLE pending_notifications RENAME TO kept; CREATE VIEW pending_notifications AS SELECT * FROM kept",
            "is a view",
        ),
        ("CREATE TABLE child () INHERITS (pending_notifications)", "inherit"),
        ("ALTER TABLE pending_notifications DROP CONSTRAINT pending_notifications_pkey", "unique index on key"),
        (
            "DROP TABLE pending_notifications; CREATE TABLE pending_notifications (key text, due_at timestamptz, "
            "PRIMARY KEY (key, due_at)) PARTITION BY RANGE (due_at)",
            "partitioned by key",
        ),
    ],
    ids=["missing", "view", "inheritance", "no key", "by due time"],
)
def test_a_table_that_cannot_be_drained_safely_is_refused(engine: Engine, statements: str, message: str) -> None:
    execute(engine, statements)

    with pytest.raises(TableRefused, match=message):
        drain(engine, RecordingGateway())


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_the_isolation_level_of_the_role_does_not_reach_the_drain(engine: Engine, level: str) -> None:
    set_by_default(engine, "default_transaction_isolation", f"'{level}'")
    schedule(engine, note("a"))
    levels = []

    class Asking(RecordingGateway):
        def deliver(self, *_: object, **__: object) -> None:
            levels.append(draining._connection.execute("SHOW transaction_isolation").fetchone())

    with closing(Drain(connect(engine), Asking())) as draining:
        draining.drain_all()

    assert levels == [("read committed",)]


def test_statements_outside_of_a_transaction_are_pinned_as_well(engine: Engine) -> None:
    """Those of delete_first."""
    for setting, value in (
        ("default_transaction_isolation", "'serializable'"),
        ("default_transaction_read_only", "on"),
    ):
        set_by_default(engine, setting, value)

    with closing(connect(engine)) as connection:
        found = [
            connection.execute(f"SHOW {setting}").fetchone()
            for setting in ("transaction_isolation", "transaction_read_only")
        ]

    assert found == [("read committed",), ("off",)]


LIMITS = [
    ("idle_in_transaction_session_timeout", "'200ms'"),
    ("transaction_timeout", "'200ms'"),
    ("enable_indexscan", "off"),
    ("client_encoding", "'LATIN1'"),
    ("datestyle", "'SQL, DMY'"),
    ("intervalstyle", "'sql_standard'"),
    ("timezone", "'Australia/Lord_Howe'"),
    ("standard_conforming_strings", "off"),
]


@pytest.mark.parametrize(("setting", "value"), LIMITS, ids=[name for name, _ in LIMITS])
def test_a_setting_of_the_database_does_not_stop_a_slow_delivery(engine: Engine, setting: str, value: str) -> None:
    try:
        set_by_default(engine, setting, value)
    except ProgrammingError:
        pytest.skip(f"this PostgreSQL has no {setting}")
    schedule(engine, note("é\\'\""), note("b", recipient="refused@b.example"))

    class Slow(RecordingGateway):
        def deliver(self, *arguments: object, **options: object) -> None:
            threading.Event().wait(0.3)
            super().deliver(*arguments, **options)  # type: ignore[arg-type]

    gateway = Slow(refuse="refused@b.example")
    with closing(Drain(connect(engine), gateway)) as draining:
        assert draining.drain_all()[0] == 1

    assert gateway.ops == ["é\\'\"/1"]
    assert stored(engine) == ["b/1"]
