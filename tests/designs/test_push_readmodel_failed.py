"""With `max_attempts` a drain gives up what fails too often, and loses nothing on the way."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from duetime import registry
from duetime.errors import BadUsage
from duetime.interface import Notification
from duetime.runtime.effects import Effects
from duetime.runtime.gateway import GiveUp
from duetime.settings import Settings
from push_readmodel.connection import connect
from push_readmodel.drain import Drain, drain
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.failed import FailedNotifications
from push_readmodel.guards import TableRefused
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import failed, metadata, pending
from push_readmodel.variants.delete_first import DrainDeletingFirst
from tests.designs.read_model import RecordingGateway, give_up, given_up, note, schedule, stored
from tests.eventually import assert_eventually

ONE, TWO = DrainSettings(max_attempts=1), DrainSettings(max_attempts=2)
BAD = "bad@b.example"


@pytest.fixture(autouse=True)
def _tables(engine: Engine) -> None:
    metadata.create_all(engine)


class RaisingGateway(RecordingGateway):
    """A gateway that raises `error` for one recipient, after calling `first`."""

    def __init__(self, error: BaseException, first: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._error = error
        self._first = first

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        if notification.recipient == BAD:
            self.attempts.append(attempt)
            self._first()
            raise self._error
        super().deliver(notification, attempt=attempt)


def make_due(engine: Engine, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(update(pending).values(attempt_at=pending.c.due_at, **values))


def test_by_default_a_delivery_that_always_fails_is_retried_for_ever(engine: Engine) -> None:
    schedule(engine, note("bad", recipient=BAD))
    make_due(engine, attempts=1000)

    drain(engine, RaisingGateway(ConnectionError()))

    assert (stored(engine), given_up(engine)) == (["bad/1"], [])


def test_after_the_last_attempt_a_row_is_moved_with_everything_it_had(engine: Engine, settings: Settings) -> None:
    schedule(engine, note("a"), note("bad", recipient=BAD), note("c"))
    gateway = RaisingGateway(ConnectionError("mailbox unavailable"))

    drain(engine, gateway, drain_settings=TWO)
    after_one = (stored(engine), given_up(engine))
    make_due(engine)
    drain(engine, gateway, drain_settings=TWO)

    assert after_one == (["bad/1"], [])
    assert (stored(engine), given_up(engine)) == ([], ["bad/1"])
    assert sorted(gateway.ops) == ["a/1", "c/1"]
    with engine.connect() as connection:
        row = connection.execute(select(failed)).one()
    assert (row.recipient, row.attempts, row.last_error) == (BAD, 2, "ConnectionError: mailbox unavailable")
    [still] = registry.load("push_readmodel").pending(settings, engine)
    assert (still.op, still.where) == ("bad/1", "given up, in failed_notifications after 2 failed attempts")


@pytest.mark.parametrize("die_at", ["COMMIT", "after COMMIT"])
def test_a_worker_that_dies_around_the_commit_loses_no_row(engine: Engine, die_at: str) -> None:
    schedule(engine, note("bad", recipient=BAD))

    class Dying(Drain):
        def _execute(self, statement: str, parameters: object = None) -> psycopg.Cursor[tuple[object, ...]]:
            if statement == "COMMIT":
                if die_at == "after COMMIT":
                    super()._execute(statement, parameters)
                    self._pipeline.sync()
                self._connection.close()
            return super()._execute(statement, parameters)

    with pytest.raises(psycopg.OperationalError):
        Dying(connect(engine), RaisingGateway(ValueError()), ONE).drain_all()

    assert (stored(engine), given_up(engine)) == ((["bad/1"], []) if die_at == "COMMIT" else ([], ["bad/1"]))


def test_a_gateway_that_says_never_is_not_asked_again(engine: Engine) -> None:
    schedule(engine, note("bad", recipient=BAD))
    gateway = RaisingGateway(GiveUp("no such mailbox"))

    drain(engine, gateway, drain_settings=DrainSettings(max_attempts=50))

    assert (gateway.attempts, given_up(engine)) == ([1], ["bad/1"])


def test_without_max_attempts_a_gateway_that_says_never_is_asked_again(engine: Engine) -> None:
    schedule(engine, note("bad", recipient=BAD))

    drain(engine, RaisingGateway(GiveUp("no such mailbox")))

    assert (stored(engine), given_up(engine)) == (["bad/1"], [])


@pytest.mark.parametrize("error", [SystemExit(1), CancelledError()], ids=["exit", "cancelled"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_gateway_that_exits_or_cancels_fails_one_delivery_and_ends_no_worker(
    engine: Engine, error: BaseException, threads: int
) -> None:
    """In a pool such an error ended the thread, and the row was delivered again at once, without end."""
    schedule(engine, note("a"), note("bad", recipient=BAD), note("c"))
    gateway = RaisingGateway(error)
    with ThreadPoolExecutor(threads) as pool:
        loop = DrainLoop(
            engine,
            gateway,
            drain_settings=DrainSettings(threads=threads, max_attempts=2),
            submit=pool.submit if threads > 1 else None,
        )
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            assert_eventually(lambda: (stored(engine), given_up(engine)) == ([], ["bad/1"]), within_s=10)
        finally:
            loop.stop()
            thread.join()

    assert sorted(gateway.ops) == ["a/1", "c/1"]
    assert sorted(gateway.attempts) == [1, 1, 1, 2]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_an_exit_in_the_main_thread_may_be_a_signal_and_ends_the_drain(engine: Engine, error: BaseException) -> None:
    schedule(engine, note("bad", recipient=BAD))

    with pytest.raises(type(error)):
        drain(engine, RaisingGateway(error), drain_settings=ONE)

    assert (stored(engine), given_up(engine)) == (["bad/1"], [])


@pytest.mark.parametrize("max_attempts", [0, 1])
def test_a_counter_at_its_end_stops_no_other_row(engine: Engine, max_attempts: int) -> None:
    """PostgreSQL refused to count on, so the batch was rolled back, and delivered again at each start."""
    schedule(engine, note("a"), note("bad", recipient=BAD), note("c"))
    make_due(engine, attempts=2**31 - 1)
    gateway = RaisingGateway(ValueError("text with \0, half a \ud800, and " + "much " * 1000))

    drain(engine, gateway, drain_settings=DrainSettings(max_attempts=max_attempts))

    assert sorted(gateway.ops) == ["a/1", "c/1"]
    assert (stored(engine), given_up(engine)) == (([], ["bad/1"]) if max_attempts else (["bad/1"], []))


@pytest.mark.parametrize("payload", ["1" + "0" * 5000, "[" * 5000 + "]" * 5000], ids=["number", "depth"])
def test_a_payload_that_python_cannot_read_is_given_up_listed_and_retried(engine: Engine, payload: str) -> None:
    schedule(engine, note("bad"), note("c"))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE pending_notifications SET payload = %s::jsonb WHERE key = 'bad'", (f'{{"n": {payload}}}',)
        )
    gateway, store = RecordingGateway(), FailedNotifications()

    drain(engine, gateway, drain_settings=ONE)

    assert (gateway.ops, given_up(engine)) == (["c/1"], ["bad/1"])
    assert list(store.retry(engine, store.find(engine))) == ["bad/1"]
    assert stored(engine) == ["bad/1"]


def test_an_effect_that_always_fails_is_given_up_and_changes_nothing(engine: Engine) -> None:
    schedule(engine, note("a"))
    effects = Effects({"test": "UPDATE events SET title = 'done' WHERE 1 / 0 = 1"}, worker="worker-1")

    with closing(Drain(connect(engine), RecordingGateway(), ONE, effects)) as draining:
        draining.drain_all()

    [row] = FailedNotifications().find(engine)
    assert (row.op, row.last_error) == ("a/1", "DivisionByZero: division by zero")
    assert stored(engine) == []


def change(engine: Engine, verb: str) -> None:
    with Session(engine) as session:
        if verb == "schedule":
            ReadModelScheduler().schedule(note("bad", revision=2), session=session)
        else:
            ReadModelScheduler().cancel("bad", revision=2, session=session)
        session.commit()


def waits_for_a_lock(engine: Engine) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql(query).scalar_one())


@pytest.mark.parametrize("verb", ["schedule", "cancel"])
def test_what_the_application_does_during_the_last_delivery_replaces_what_is_given_up(
    engine: Engine, verb: str
) -> None:
    schedule(engine, note("bad", recipient=BAD))
    changing = threading.Thread(target=change, args=(engine, verb))

    def change_meanwhile() -> None:
        changing.start()
        assert_eventually(lambda: waits_for_a_lock(engine))

    gateway = RaisingGateway(ValueError(), first=change_meanwhile)
    drain(engine, gateway, drain_settings=ONE, stopping=lambda: True)  # one batch
    changing.join()
    between = given_up(engine)
    drain(engine, gateway, drain_settings=ONE)

    assert between == (["bad/1"] if verb == "schedule" else [])
    assert gateway.ops == (["bad/2"] if verb == "schedule" else [])
    # Nothing is left that a retry could deliver after its newer revision.
    assert (stored(engine), given_up(engine)) == ([], [])


def test_an_effect_removes_older_given_up_revisions_too(engine: Engine) -> None:
    give_up(engine, "a")
    schedule(engine, note("a", revision=2))

    with closing(Drain(connect(engine), RecordingGateway(), ONE, Effects({"test": "SELECT 1"}, worker=""))) as draining:
        draining.drain_all()

    assert given_up(engine) == []


def test_of_two_given_up_revisions_the_newer_is_kept(engine: Engine) -> None:
    give_up(engine, "a", revision=1)
    give_up(engine, "b", revision=3)
    schedule(engine, note("a", revision=2, recipient=BAD), note("b", revision=2, recipient=BAD))

    drain(engine, RaisingGateway(ValueError()), drain_settings=ONE)

    assert (stored(engine), given_up(engine)) == ([], ["a/2", "b/3"])


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DROP TABLE failed_notifications", "no table failed_notifications; create it with `"),
        ("REVOKE INSERT ON failed_notifications FROM PUBLIC, {role}", "may not INSERT on failed_notifications; GRANT"),
    ],
    ids=["missing", "privilege"],
)
def test_a_worker_that_could_not_give_up_ends_before_its_first_delivery(
    engine: Engine, statement: str, message: str
) -> None:
    schedule(engine, note("a"))
    role = "gives_up"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role}")
        for table in ("pending_notifications", "failed_notifications"):
            connection.exec_driver_sql(f"GRANT ALL ON {table} TO {role}")
        connection.exec_driver_sql(statement.format(role=role))
    gateway = RecordingGateway()
    worker = connect(engine)
    worker.execute(f"SET ROLE {role}".encode())
    try:
        with pytest.raises(TableRefused, match=message):
            Drain(worker, gateway, ONE)
        assert gateway.attempts == []
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_the_variant_that_never_retries_refuses_the_setting(engine: Engine) -> None:
    with pytest.raises(BadUsage, match="DUETIME_MAX_ATTEMPTS is 1, but push_readmodel:delete_first never retries"):
        DrainDeletingFirst(connect(engine), RecordingGateway(), ONE)


@pytest.mark.parametrize("error", [SystemExit(1), ValueError()], ids=["exit", "error"])
def test_the_variant_that_never_retries_survives_any_error_of_its_gateway(engine: Engine, error: BaseException) -> None:
    schedule(engine, note("a"), note("bad", recipient=BAD), note("c"))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE pending_notifications SET payload = %s::jsonb WHERE key = 'a'", ('{"n": ' + "1" * 5000 + "}",)
        )
    gateway = RaisingGateway(error)

    with ThreadPoolExecutor() as pool, closing(DrainDeletingFirst(connect(engine), gateway)) as draining:
        pool.submit(draining.drain_all).result()

    assert (gateway.ops, stored(engine)) == (["c/1"], [])


def test_a_row_that_cannot_be_stored_as_given_up_stays_pending(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
            "CREATE TRIGGER keeps_out BEFORE INSERT ON failed_notifications FOR EACH ROW EXECUTE FUNCTION f()"
        )
    schedule(engine, note("a", recipient="bad"))
    gateway = RecordingGateway(refuse="bad")

    for _ in range(2):
        with (
            pytest.raises(TableRefused, match="given up"),
            closing(Drain(connect(engine), gateway, DrainSettings(max_attempts=1))) as draining,
        ):
            draining.drain_all()

    assert stored(engine) == ["a/1"]
    assert given_up(engine) == []
