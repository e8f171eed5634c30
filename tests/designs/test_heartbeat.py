"""Heartbeats of workers, and the verdict on a worker whose heartbeat is overdue."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, make_url
from sqlalchemy.orm import Session

from duetime.cli.deploy import assess
from duetime.clock import system_clock
from duetime.interface import Notification
from duetime.runtime.gateway import Gateway
from duetime.runtime.heartbeat import NO_HEARTBEAT, Heartbeat, HeartbeatRecord, heartbeat_from, read_heartbeat
from duetime.settings import Settings
from oban_style_queue.heartbeat import HANGING_AFTER_S, is_progressing
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from tests.eventually import assert_eventually

NOW_NS = 1_000_000_000_000


def heartbeat(*, age_s: float, again_within_s: float) -> HeartbeatRecord:
    return HeartbeatRecord(activity="finished a poll", at_ns=NOW_NS - int(age_s * 1e9), again_within_s=again_within_s)


@pytest.mark.parametrize(
    ("age_s", "healthy"), [(0, True), (100, True), (149, True), (151, False), (-1, False)], ids="{}".format
)
def test_a_heartbeat_is_valid_for_its_interval_plus_the_patience(age_s: float, healthy: bool) -> None:
    assert assess(heartbeat(age_s=age_s, again_within_s=120), NOW_NS, 30)[0] is healthy


def test_the_verdict_names_the_last_activity_and_when_it_was_due_again() -> None:
    good = assess(heartbeat(age_s=3.2, again_within_s=120), NOW_NS, 30)
    bad = assess(heartbeat(age_s=200, again_within_s=120), NOW_NS, 30)
    none = assess(None, NOW_NS, 30)

    assert good == (True, "finished a poll 3.2 s ago")
    assert bad == (False, "last finished a poll 200.0 s ago; expected again within 120.0 s")
    assert none == (False, "has written no heartbeat yet")


def test_the_latest_heartbeat_is_read_and_an_unreadable_file_is_none(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    assert read_heartbeat(file) is None

    Heartbeat(file).beat("checked", again_within_s=1.5)
    before = read_heartbeat(file)
    Heartbeat(file).beat("checked again", again_within_s=2)
    after = read_heartbeat(file)

    assert before is not None
    assert after is not None
    assert (before.activity, before.again_within_s) == ("checked", 1.5)
    assert before.at_ns <= after.at_ns <= time.monotonic_ns()
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat"]
    for garbage in ("", "{", "[]", '{"did": "checked"}'):
        file.write_text(garbage)
        assert read_heartbeat(file) is None


def test_a_heartbeat_may_record_how_far_the_last_poll_reached(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    Heartbeat(file).beat("finished a poll", again_within_s=120, reached="2030-01-01T12:00:00+00:00")
    with_reached = read_heartbeat(file)
    file.write_text('{"activity": "finished a poll", "at_ns": 1, "again_within_s": 120}')
    without_reached = read_heartbeat(file)

    assert with_reached is not None
    assert without_reached is not None
    assert (with_reached.reached, without_reached.reached) == ("2030-01-01T12:00:00+00:00", None)


def test_without_a_file_no_heartbeat_is_written_and_an_unwritable_file_is_ignored(
    settings: Settings, tmp_path: Path
) -> None:
    NO_HEARTBEAT.beat("checked", again_within_s=1)
    heartbeat_from(settings).beat("checked", again_within_s=1)
    heartbeat_from(replace(settings, heartbeat=tmp_path / "missing" / "heartbeat")).beat("checked", again_within_s=1)

    assert list(tmp_path.iterdir()) == []


class Steady:
    """A gateway that takes 20 ms for each delivery."""

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        time.sleep(0.02)


class Hanging:
    """A gateway that hangs until `may_end` is set."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.began = threading.Event()

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.began.set()
        assert self.may_end.wait(timeout=20)


@contextmanager
def draining(engine: Engine, gateway: Gateway, file: Path) -> Iterator[None]:
    """Run a drain loop that writes its heartbeats to `file`."""
    metadata.create_all(engine)
    loop = DrainLoop(engine, gateway, drain_settings=DrainSettings(check_every_s=0.1), heartbeat=Heartbeat(file))
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield
    finally:
        loop.stop()
        thread.join(timeout=10)


def schedule(engine: Engine, *, number: int) -> None:
    """Schedule `number` notifications that are due now."""
    with Session(engine) as session:
        for key in map(str, range(number)):
            due = Notification(key=key, revision=1, kind="test", recipient="a@b.example", due_at=system_clock())
            ReadModelScheduler().schedule(due, session=session)
        session.commit()


def is_healthy(file: Path) -> bool:
    return assess(read_heartbeat(file), time.monotonic_ns(), patience_s=0.5)[0]


def test_an_idle_drain_keeps_writing_heartbeats(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    with draining(engine, Hanging(), file):
        assert_eventually(lambda: is_healthy(file), within_s=10)
        first = read_heartbeat(file)
        assert_eventually(lambda: read_heartbeat(file) != first, within_s=10)


def test_a_busy_drain_writes_a_heartbeat_after_each_batch(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    seen: set[HeartbeatRecord | None] = set()

    def enough_seen() -> bool:
        seen.add(read_heartbeat(file))
        return len(seen) > 5

    with draining(engine, Steady(), file):
        schedule(engine, number=60)
        assert_eventually(enough_seen, within_s=10)


def test_a_drain_writes_no_heartbeat_while_a_delivery_hangs(engine: Engine, tmp_path: Path) -> None:
    file, gateway = tmp_path / "heartbeat", Hanging()
    with draining(engine, gateway, file):
        assert_eventually(lambda: is_healthy(file), within_s=10)
        schedule(engine, number=1)
        assert gateway.began.wait(timeout=10)
        assert_eventually(lambda: not is_healthy(file), within_s=10)
        gateway.may_end.set()
        assert_eventually(lambda: is_healthy(file), within_s=10)


def test_a_drain_writes_no_heartbeat_while_the_database_is_away(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    with draining(engine, Hanging(), file):
        assert_eventually(lambda: is_healthy(file), within_s=10)
        with database_away(engine):
            assert_eventually(lambda: not is_healthy(file), within_s=10)
        assert_eventually(lambda: is_healthy(file), within_s=10)


def test_a_pool_is_progressing_unless_every_process_has_had_its_task_for_long() -> None:
    assert is_progressing([], processes=2, now_s=1000)
    assert is_progressing([1000 - HANGING_AFTER_S - 1], processes=2, now_s=1000)
    assert is_progressing([1000 - HANGING_AFTER_S - 1, 999], processes=2, now_s=1000)
    assert not is_progressing([1000 - HANGING_AFTER_S - 1, 1000 - HANGING_AFTER_S - 2], processes=2, now_s=1000)


@contextmanager
def database_away(engine: Engine) -> Iterator[None]:
    """Cut all connections to the database of `engine`, and reject new ones."""
    name = engine.url.database
    maintenance_url = make_url(engine.url).set(drivername="postgresql", database="postgres")
    with psycopg.connect(maintenance_url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
