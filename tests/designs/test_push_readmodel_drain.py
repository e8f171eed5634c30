"""What a drain claims, delivers, retries and leaves."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.pool import NullPool

from duetime.errors import BadUsage
from duetime.interface import Notification
from push_readmodel.connection import connect
from push_readmodel.drain import Batch, Drain, drain
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.schema import metadata, pending
from push_readmodel.statements import CLAIM, DELETE, FRONT_OF_INDEX, REMAINING
from tests.designs.read_model import FAR, PAST, RecordingGateway, note, schedule, stored
from tests.eventually import assert_eventually


@pytest.fixture(autouse=True)
def _table(engine: Engine) -> None:
    metadata.create_all(engine)


def test_due_rows_are_delivered_in_due_order_batch_after_batch(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}", due_at=PAST - timedelta(days=number)) for number in range(5)))
    schedule(engine, note("later", due_at=FAR))
    gateway = RecordingGateway()

    assert drain(engine, gateway, drain_settings=DrainSettings(batch_most=2)) == 5

    assert gateway.ops == ["k4/1", "k3/1", "k2/1", "k1/1", "k0/1"]
    assert stored(engine) == ["later/1"]


def test_a_failed_delivery_is_retried_later_and_the_rest_of_its_batch_is_delivered(engine: Engine) -> None:
    schedule(engine, note("a"), note("bad", recipient="bad@b.example"), note("c"))
    gateway = RecordingGateway(refuse="bad@b.example")

    with closing(Drain(connect(engine), gateway)) as draining:
        delivered, remaining = draining.drain_all()

    assert sorted(gateway.ops) == ["a/1", "c/1"]
    assert delivered == 2
    with engine.connect() as connection:
        row = connection.execute(select(pending)).one()
    assert (row.key, row.attempts, row.last_error) == ("bad", 1, "ConnectionError: mailbox unavailable")
    assert not remaining.due
    assert remaining.next_s is not None
    assert 0 < remaining.next_s - remaining.now_s <= 1


class WithoutText(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    "error",
    [WithoutText(), ValueError("half \ud800, nothing \0, " + "long" * 1000)],
    ids=["without text", "not storable"],
)
def test_any_error_of_a_gateway_can_be_stored(engine: Engine, error: Exception) -> None:
    class Broken:
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            raise error

    schedule(engine, note("a"))

    assert drain(engine, Broken()) == 0

    with engine.connect() as connection:
        assert connection.execute(select(pending.c.last_error)).scalar_one().startswith(type(error).__name__)


@pytest.mark.parametrize("due_at", ["infinity", "-infinity", "0044-03-15 00:00Z BC", "294000-01-01 00:00Z"])
def test_a_row_with_a_due_time_outside_of_pythons_calendar_is_delivered_and_stops_no_other(
    engine: Engine, due_at: str
) -> None:
    schedule(engine, note("odd"), note("next"))
    attempt_at = due_at if due_at.startswith("-") or due_at.endswith("BC") else "2020-01-01 00:00Z"
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE pending_notifications SET due_at = :due_at, attempt_at = :attempt_at WHERE key = 'odd'"),
            {"due_at": due_at, "attempt_at": attempt_at},
        )
    gateway = RecordingGateway()

    assert drain(engine, gateway) == 2

    assert sorted(gateway.ops) == ["next/1", "odd/1"]
    assert stored(engine) == []


def test_an_error_in_another_alphabet_is_stored_in_a_database_of_any_encoding(engine: Engine) -> None:
    class Refusing(RecordingGateway):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            if notification.key == "bad":
                raise RuntimeError("mailbox “日本”")
            super().deliver(notification, attempt=attempt)

    name = f"latin_{uuid.uuid4().hex[:8]}"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        try:
            latin = create_engine(engine.url.set(database=name), poolclass=NullPool)
            metadata.create_all(latin)
            schedule(latin, note("bad"), note("c"))
            gateway = Refusing()

            assert drain(latin, gateway) == 1

            assert gateway.ops == ["c/1"]
            with latin.connect() as reading:
                row = reading.execute(select(pending)).one()
            assert (row.key, row.attempts) == ("bad", 1)
            assert row.last_error == r"RuntimeError: mailbox \u201c\u65e5\u672c\u201d"
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_two_drains_never_claim_the_same_row(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}") for number in range(7)))
    other = RecordingGateway()

    class Interleaved(RecordingGateway):
        """Runs another drain during its first delivery."""

        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            if not self.ops:
                drain(engine, other)
            super().deliver(notification, attempt=attempt)

    gateway = Interleaved()
    drain(engine, gateway)

    assert len(other.ops) == 6
    assert sorted(gateway.ops + other.ops) == [f"k{number}/1" for number in range(7)]
    assert stored(engine) == []


@pytest.mark.parametrize(("takes_s", "least", "most"), [(0.0, 20, 200), (0.01, 2, 6), (0.06, 1, 1)], ids="{}".format)
def test_a_faster_gateway_gets_larger_batches(engine: Engine, takes_s: float, least: int, most: int) -> None:
    """A crash would deliver again what is delivered and not yet deleted: one batch."""
    schedule(engine, *(note(f"k{number:03}") for number in range(600 if takes_s == 0 else 20)))
    sizes = []

    class Slow(RecordingGateway):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            if takes_s:
                time.sleep(takes_s)
            super().deliver(notification, attempt=attempt)

    class RecordingDrain(Drain):
        def _commit(self, batch: Batch | None) -> None:
            sizes.append(len(batch.delivered) if batch else 0)
            super()._commit(batch)

    with closing(RecordingDrain(connect(engine), Slow(), DrainSettings(batch_most=200))) as draining:
        draining.drain_all()

    assert least <= max(sizes) <= most


def test_a_gateway_that_becomes_slow_during_a_batch_cuts_it_short(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number:03}") for number in range(300)))
    not_deleted = []

    class BecomingSlow(RecordingGateway):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            super().deliver(notification, attempt=attempt)
            if len(self.ops) > 150:
                time.sleep(0.06)
                not_deleted.append(300 - len(self.ops) - len(stored(engine)))
            if len(self.ops) == 155:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drain(engine, BecomingSlow())

    # Delivered and still in the table: first the batch that became slow, then one row at a time.
    assert not_deleted[1:] == [-1, -1, -1, -1]
    assert len(stored(engine)) == 300 - 154


def test_a_row_scheduled_behind_the_low_water_mark_is_delivered_by_the_same_drain(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}", due_at=PAST + timedelta(days=number)) for number in range(10)))

    class Scheduling(RecordingGateway):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            super().deliver(notification, attempt=attempt)
            if len(self.ops) == 8:
                schedule(engine, note("behind", due_at=PAST - timedelta(days=1)))

    gateway = Scheduling()
    assert drain(engine, gateway, drain_settings=DrainSettings(batch_most=3)) == 11
    assert set(gateway.ops) >= {"behind/1"}


def test_with_look_ahead_a_row_is_claimed_early_and_delivered_on_time(engine: Engine) -> None:
    due_at = datetime.now(UTC) + timedelta(seconds=0.6)
    schedule(engine, note("a", due_at=due_at), note("b", due_at=due_at + timedelta(seconds=0.1)))
    late_s = []

    class Measuring(RecordingGateway):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            late_s.append((datetime.now(UTC) - notification.due_at).total_seconds())
            super().deliver(notification, attempt=attempt)

    assert drain(engine, Measuring(), drain_settings=DrainSettings(look_ahead_s=1.0)) == 2

    assert stored(engine) == []
    assert all(0 <= seconds < 0.1 for seconds in late_s), late_s


def test_a_statement_that_was_planned_on_an_empty_table_walks_an_index(engine: Engine) -> None:
    """Prepared and explained on a connection of the drain."""
    statements = {
        "claim": (CLAIM % ("$1", "$2", "$3"), "timestamptz, interval, bigint", "'0001-01-01', '0', 10"),
        "remaining": (REMAINING % {"ahead": "$1"}, "interval", "'0'"),
        "gone": (DELETE % "$1", "text[]", "'{k1,k2}'"),
    }
    with closing(connect(engine)) as connection:
        for name, (statement, types, _) in statements.items():
            connection.execute(f"PREPARE {name} ({types}) AS {statement}")
        for full in (False, True):
            if full:
                schedule(engine, *(note(f"k{number}") for number in range(2000)))
            for name, (_, __, values) in statements.items():
                explained = connection.execute(f"EXPLAIN EXECUTE {name} ({values})").fetchall()
                plan = "\n".join(row[0] for row in explained)
                assert "Seq Scan" not in plan, (full, plan)
                assert "Sort" not in plan, (full, plan)


def test_a_stopped_drain_ends_after_the_current_batch(engine: Engine) -> None:
    schedule(engine, *(note(f"k{number}") for number in range(6)))
    gateway = RecordingGateway()

    delivered = drain(
        engine, gateway, drain_settings=DrainSettings(batch_most=1), stopping=lambda: len(gateway.ops) >= 4
    )

    assert delivered == 4


def test_a_claim_that_waited_for_a_change_returns_the_changed_row(engine: Engine) -> None:
    """The snapshot of the claim is older than the change."""
    schedule(engine, note("a", revision=1))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION slowly(timestamptz) RETURNS timestamptz LANGUAGE sql VOLATILE AS "
            "'SELECT $1 FROM pg_sleep(0.5)'"
        )
    # The same claim, with half a second between its snapshot and its locks.
    slow_claim = CLAIM.replace("ORDER BY", "AND slowly(due_at) <= clock_timestamp() ORDER BY")
    assert slow_claim != CLAIM
    claimed: list[int] = []

    def claim_slowly() -> None:
        with closing(connect(engine)) as connection:
            rows = connection.execute(slow_claim, (FRONT_OF_INDEX, timedelta(), 5)).fetchall()
            claimed.extend(revision for _, _, _, _, revision, *_ in rows)

    thread = threading.Thread(target=claim_slowly)
    thread.start()
    assert_eventually(lambda: slow_claim_is_running(engine), within_s=10)
    schedule(engine, note("a", revision=2))
    thread.join(timeout=10)

    assert claimed == [2]


def slow_claim_is_running(engine: Engine) -> bool:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'active' AND query LIKE '%%slowly(%%' AND query NOT LIKE '%%pg_stat%%'"
    )
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql(query).scalar_one())


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"DUETIME_THREADS": "0"}, "from 1"),
        ({"DUETIME_BATCH_MOST": "many"}, "many"),
        ({"DUETIME_LOOK_AHEAD_S": "nan"}, "nan"),
        ({"DUETIME_MAX_ATTEMPTS": "1001"}, "from 0 to 1000"),
        ({"DUETIME_MAX_ATTEMPTS": "0.5"}, "whole number"),
        ({"DUETIME_CHECK_EVERY_S": "0"}, "from 0.1 to 600"),
        ({"DUETIME_CHECK_EVERY_S": "3600"}, "from 0.1 to 600"),
    ],
    ids="{}".format,
)
def test_a_setting_out_of_bounds_is_rejected_by_name(environment: dict[str, str], message: str) -> None:
    with pytest.raises(BadUsage, match=message):
        DrainSettings.from_environment(environment)
