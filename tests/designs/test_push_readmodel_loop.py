"""When the drain loop wakes, and how loops share the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, insert

from duetime.interface import Notification
from push_readmodel import drain_loop
from push_readmodel.drain import Batch, Drain, Remaining
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.guards import TableRefused
from push_readmodel.schema import metadata, pending
from push_readmodel.statements import PUT_BACK
from tests.designs.read_model import FAR, PAST, RecordingGateway, note, running, schedule, sleeping, stored
from tests.eventually import assert_eventually


@pytest.fixture(autouse=True)
def _table(engine: Engine) -> None:
    metadata.create_all(engine)


@contextmanager
def sleeping_loop(engine: Engine, gateway: RecordingGateway) -> Iterator[None]:
    """A running loop that has reached its first sleep."""
    with running(DrainLoop(engine, gateway)):
        assert_eventually(lambda: sleeping(engine) == 1, within_s=10)
        yield


def test_a_notify_without_a_due_time_wakes_the_loop_and_does_no_harm(engine: Engine) -> None:
    gateway = RecordingGateway()
    with sleeping_loop(engine, gateway):
        with engine.begin() as connection:
            connection.exec_driver_sql("NOTIFY pending_notifications")
        schedule(engine, note("now"))
        assert gateway.delivered.wait(timeout=20)


def test_a_failed_row_is_retried_by_another_worker_that_was_asleep(engine: Engine) -> None:
    gateway = RecordingGateway()
    with sleeping_loop(engine, gateway):
        with engine.begin() as connection:
            # Without a NOTIFY, as if another worker had just claimed it.
            connection.execute(
                insert(pending).values(
                    key="a",
                    revision=1,
                    kind="test",
                    recipient="a@b.example",
                    payload={},
                    due_at=PAST,
                    attempt_at=PAST,
                )
            )
            connection.exec_driver_sql("SELECT FROM pending_notifications FOR UPDATE")
            connection.exec_driver_sql(PUT_BACK, (timedelta(seconds=0.3), "refused", "a"))
        assert gateway.delivered.wait(timeout=20)

    assert gateway.attempts == [2]


def test_a_sleeping_loop_wakes_for_a_row_that_is_due_before_the_next_known_one(engine: Engine) -> None:
    schedule(engine, note("far", due_at=FAR))
    gateway = RecordingGateway()
    with sleeping_loop(engine, gateway):
        schedule(engine, note("now"))
        assert gateway.delivered.wait(timeout=20)

    assert gateway.ops == ["now/1"]
    assert stored(engine) == ["far/1"]


def test_a_loop_without_its_table_ends(engine: Engine) -> None:
    metadata.drop_all(engine)

    with pytest.raises(TableRefused, match="pending_notifications"):
        DrainLoop(engine, RecordingGateway()).run()


def test_a_delivery_that_hangs_does_not_delay_the_deliveries_of_other_threads(engine: Engine) -> None:
    may_end = threading.Event()

    class Hanging(RecordingGateway):
        def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
            if notification.key == "hangs":
                assert may_end.wait(timeout=10)
            super().deliver(notification, attempt=attempt)

    class CountingDrain(Drain):
        def check_remaining(self, batch: Batch | None = None) -> Remaining:
            checks.append(1)
            return super().check_remaining(batch)

    checks: list[int] = []
    gateway = Hanging()
    with ThreadPoolExecutor(max_workers=2) as pool:
        loop = DrainLoop(engine, gateway, CountingDrain, drain_settings=DrainSettings(threads=2), submit=pool.submit)
        with running(loop):
            try:
                schedule(engine, note("hangs"))
                schedule(engine, note("later", due_at=datetime.now(UTC) + timedelta(seconds=0.5)))
                assert_eventually(lambda: gateway.ops == ["later/1"], within_s=10)
                checks_before = len(checks)
                time.sleep(1.0)
                # The loop checks the claimed row every 0.25 s, not continuously.
                assert len(checks) - checks_before <= 12
                may_end.set()
                assert_eventually(lambda: gateway.ops == ["later/1", "hangs/1"], within_s=10)
                assert_eventually(lambda: stored(engine) == [], within_s=10)
            finally:
                may_end.set()


def test_the_leader_delivers_what_becomes_due_and_the_other_loops_wake_later(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_loop, "STAND_BY_S", 5.0)
    gateways = [RecordingGateway() for _ in range(4)]
    with running(*(DrainLoop(engine, gateway) for gateway in gateways)):
        assert_eventually(lambda: sleeping(engine) == 4, within_s=10)
        for number in range(20):
            schedule(engine, note(f"k{number}", due_at=datetime.now(UTC) + timedelta(seconds=0.05)))
            assert_eventually(lambda: stored(engine) == [], within_s=10)

    assert sorted(len(gateway.ops) for gateway in gateways) == [0, 0, 0, 20]
