"""Signs of life: what a server says it will do again, and what is said of it when it does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, make_url
from sqlalchemy.orm import Session

from duetime.cli.deploy import verdict
from duetime.clock import system_clock
from duetime.interface import Notification
from duetime.runtime.gateway import Gateway
from duetime.runtime.heartbeat import NO_HEARTBEAT, Heartbeat, HeartbeatRecord, heartbeat_from, read_heartbeat
from duetime.settings import Settings
from oban_style_queue.heartbeat import LONGEST_S, is_progressing
from push_readmodel import drain_loop
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.scheduler import ReadModel
from push_readmodel.schema import metadata

NOW_NS = 1_000_000_000_000


def sign(*, age_s: float, again_within_s: float) -> HeartbeatRecord:
    return HeartbeatRecord(activity="finished a poll", at_ns=NOW_NS - int(age_s * 1e9), again_within_s=again_within_s)


@pytest.mark.parametrize(
    ("age_s", "healthy"), [(0, True), (100, True), (149, True), (151, False), (-1, False)], ids="{}".format
)
def test_a_sign_of_life_holds_for_what_it_announced_and_some_patience(age_s: float, healthy: bool) -> None:
    assert verdict(sign(age_s=age_s, again_within_s=120), NOW_NS, 30)[0] is healthy


def test_what_is_said_of_a_server_names_what_it_did_last_and_what_it_owes() -> None:
    good = verdict(sign(age_s=3.2, again_within_s=120), NOW_NS, 30)
    bad = verdict(sign(age_s=200, again_within_s=120), NOW_NS, 30)
    none = verdict(None, NOW_NS, 30)

    assert good == (True, "finished a poll 3.2 s ago")
    assert bad == (False, "last finished a poll 200.0 s ago, and was to do so again within 120.0 s")
    assert none == (False, "has given no sign of life yet")


def test_the_latest_sign_is_read_back_and_what_is_none_is_none(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    assert read_heartbeat(file) is None

    Heartbeat(file).beat("looked", again_within_s=1.5)
    before = read_heartbeat(file)
    Heartbeat(file).beat("looked again", again_within_s=2)
    after = read_heartbeat(file)

    assert before is not None
    assert after is not None
    assert (before.activity, before.again_within_s) == ("looked", 1.5)
    assert before.at_ns <= after.at_ns <= time.monotonic_ns()
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat"]
    for garbage in ("", "{", "[]", '{"did": "looked"}'):
        file.write_text(garbage)
        assert read_heartbeat(file) is None


def test_a_heartbeat_tells_how_far_the_last_poll_reached_if_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    Heartbeat(file).beat("finished a poll", again_within_s=120, reached="2030-01-01T12:00:00+00:00")
    with_it = read_heartbeat(file)
    file.write_text('{"activity": "finished a poll", "at_ns": 1, "again_within_s": 120}')
    without_it = read_heartbeat(file)

    assert with_it is not None
    assert without_it is not None
    assert (with_it.reached, without_it.reached) == ("2030-01-01T12:00:00+00:00", None)


def test_where_nobody_looks_nothing_is_written_and_where_nothing_can_be_nobody_is_hurt(
    settings: Settings, tmp_path: Path
) -> None:
    NO_HEARTBEAT.beat("looked", again_within_s=1)
    heartbeat_from(settings).beat("looked", again_within_s=1)
    heartbeat_from(replace(settings, heartbeat=tmp_path / "missing" / "heartbeat")).beat("looked", again_within_s=1)

    assert list(tmp_path.iterdir()) == []


class Steady:
    """A gateway that takes a moment for each."""

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        time.sleep(0.02)


class Slow:
    """A gateway that takes its time once it is told to."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.began = threading.Event()

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.began.set()
        assert self.may_end.wait(timeout=20)


@contextmanager
def draining(engine: Engine, gateway: Gateway, file: Path) -> Iterator[None]:
    """A drain loop that leaves its signs of life in `file`."""
    metadata.create_all(engine)
    running = DrainLoop(engine, gateway, heartbeat=Heartbeat(file))
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield
    finally:
        running.stop()
        thread.join(timeout=10)


def schedule(engine: Engine, *, number: int) -> None:
    """Some notifications that are due now."""
    with Session(engine) as session:
        for key in map(str, range(number)):
            due = Notification(key=key, revision=1, kind="test", recipient="a@b.example", due_at=system_clock())
            ReadModel().schedule(due, session=session)
        session.commit()


def is_healthy(file: Path) -> bool:
    return verdict(read_heartbeat(file), time.monotonic_ns(), patience_s=0.5)[0]


def test_an_idle_drain_looks_again_and_again(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_loop, "IDLE_S", 0.1)
    file = tmp_path / "heartbeat"
    with draining(engine, Slow(), file):
        wait_until(lambda: is_healthy(file))
        first = read_heartbeat(file)
        wait_until(lambda: read_heartbeat(file) != first)


def test_a_drain_that_is_busy_for_long_gives_signs_from_batch_to_batch(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    seen = set()
    with draining(engine, Steady(), file):
        schedule(engine, number=60)
        wait_until(lambda: seen.add(read_heartbeat(file)) or len(seen) > 5)


def test_a_drain_in_which_a_delivery_hangs_gives_no_sign_until_it_is_over(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_loop, "IDLE_S", 0.1)
    file, gateway = tmp_path / "heartbeat", Slow()
    with draining(engine, gateway, file):
        wait_until(lambda: is_healthy(file))
        schedule(engine, number=1)
        assert gateway.began.wait(timeout=10)
        wait_until(lambda: not is_healthy(file))
        gateway.may_end.set()
        wait_until(lambda: is_healthy(file))


def test_a_drain_whose_database_is_away_gives_no_sign_until_it_is_back(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_loop, "IDLE_S", 0.1)
    file = tmp_path / "heartbeat"
    with draining(engine, Slow(), file):
        wait_until(lambda: is_healthy(file))
        with closed_to_everybody(engine):
            wait_until(lambda: not is_healthy(file))
        wait_until(lambda: is_healthy(file))


def test_a_pool_gets_on_unless_every_process_has_been_at_its_task_for_long() -> None:
    assert is_progressing([], processes=2, now_s=1000)
    assert is_progressing([1000 - LONGEST_S - 1], processes=2, now_s=1000)
    assert is_progressing([1000 - LONGEST_S - 1, 999], processes=2, now_s=1000)
    assert not is_progressing([1000 - LONGEST_S - 1, 1000 - LONGEST_S - 2], processes=2, now_s=1000)


@contextmanager
def closed_to_everybody(engine: Engine) -> Iterator[None]:
    """The database behind `engine`, away: its connections cut and no new ones let in."""
    name = engine.url.database
    worker = make_url(engine.url).set(drivername="postgresql", database="postgres")
    with psycopg.connect(worker.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
