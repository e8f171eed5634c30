"""What no NOTIFY announces is found by the loop's regular checks: rows written by others, and a clock that was set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from duetime.faults.mechanisms.faketime import SkewedClock
from duetime.interface import Notification
from duetime.urls import sqlalchemy_url
from push_readmodel.connection import connect
from push_readmodel.drain_loop import LEADER, DrainLoop
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.schema import metadata
from tests.designs.read_model import RecordingGateway, note, running, schedule, sleeping
from tests.eventually import assert_eventually
from tests.skewed_postgres import clock_in, postgres_with

CHECK_EVERY_S = 0.5
SOON_S = 4.0
"""A check, and what a busy machine adds."""
COPY = """
    COPY pending_notifications (key, revision, kind, recipient, payload, due_at, attempt_at) FROM STDIN
"""


class TimedGateway(RecordingGateway):
    """Records the database's clock at each delivery, too."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.at: dict[str, datetime] = {}
        self._engine = engine

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.at[notification.key] = database_time(self._engine)
        super().deliver(notification, attempt=attempt)


def database_time(engine: Engine) -> datetime:
    with engine.connect() as connection:
        at: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return at.astimezone(UTC)


@contextmanager
def checking_loop(engine: Engine, gateway: RecordingGateway, look_ahead_s: float = 0.0) -> Iterator[None]:
    """A running loop that has reached its first sleep."""
    metadata.create_all(engine)
    settings = DrainSettings(check_every_s=CHECK_EVERY_S, look_ahead_s=look_ahead_s)
    with running(DrainLoop(engine, gateway, drain_settings=settings)):
        assert_eventually(lambda: sleeping(engine) == 1, within_s=10)
        yield


def copy(engine: Engine, key: str) -> None:
    """Write a row that is due, as pg_restore does: without a NOTIFY."""
    with closing(connect(engine)) as connection, connection.cursor().copy(COPY) as rows:
        now = datetime.now(UTC)
        rows.write_row((key, 1, "test", "a@b.example", "{}", now, now))


def test_a_row_that_no_notify_announced_is_delivered_after_the_next_check(engine: Engine) -> None:
    gateway = RecordingGateway()
    with checking_loop(engine, gateway):
        copy(engine, "restored")
        assert gateway.delivered.wait(timeout=SOON_S)


def test_a_worker_that_does_not_lead_checks_as_often(engine: Engine) -> None:
    gateway = RecordingGateway()
    with closing(connect(engine)) as paused_leader:
        paused_leader.execute("SELECT pg_advisory_lock(%s)", [LEADER])
        with checking_loop(engine, gateway):
            copy(engine, "restored")
            assert gateway.delivered.wait(timeout=SOON_S)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> SkewedClock:
    """The clock of the PostgreSQL of `skewed_engine`."""
    return clock_in(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def skewed_server(clock: SkewedClock, tempdir: Path) -> Iterator[Engine]:
    with postgres_with(clock, tempdir / "skewed", tempdir=tempdir) as url:
        yield create_engine(sqlalchemy_url(url), poolclass=NullPool)


@pytest.fixture
def skewed_engine(clock: SkewedClock, skewed_server: Engine) -> Iterator[Engine]:
    """That server with a correct clock and an empty table."""
    metadata.drop_all(skewed_server)
    yield skewed_server
    clock.set(0.0)


def in_s(engine: Engine, seconds: float) -> datetime:
    return database_time(engine) + timedelta(seconds=seconds)


def test_rows_that_a_clock_set_forward_made_due_are_delivered_after_the_next_check(
    clock: SkewedClock, skewed_engine: Engine
) -> None:
    gateway = TimedGateway(skewed_engine)
    with checking_loop(skewed_engine, gateway):
        schedule(skewed_engine, note("overdue", due_at=in_s(skewed_engine, 300)))
        clock.set(600.0)
        schedule(skewed_engine, note("new", due_at=in_s(skewed_engine, 0.1)))
        assert_eventually(lambda: len(gateway.ops) == 2, within_s=SOON_S)


@pytest.mark.parametrize("look_ahead_s", [0.0, 0.3])
def test_a_clock_set_back_delays_rows_and_delivers_none_early(
    clock: SkewedClock, skewed_engine: Engine, look_ahead_s: float
) -> None:
    gateway = TimedGateway(skewed_engine)
    with checking_loop(skewed_engine, gateway, look_ahead_s):
        before = in_s(skewed_engine, 0.5)
        schedule(skewed_engine, note("before", due_at=before))
        assert gateway.delivered.wait(timeout=5)
        started_s = time.monotonic()
        due_at = in_s(skewed_engine, 1.0)
        schedule(skewed_engine, note("after", due_at=due_at))
        clock.set(-1.5)
        new = in_s(skewed_engine, 0.1)
        schedule(skewed_engine, note("new", due_at=new))
        assert_eventually(lambda: len(gateway.ops) == 3, within_s=10)

    assert time.monotonic() - started_s > 2.4
    early_s = 0.002 if look_ahead_s else 0.0
    for key, when in {"before": before, "after": due_at, "new": new}.items():
        assert -early_s <= (gateway.at[key] - when).total_seconds() < SOON_S, key
