"""The drain behind pgbouncer: on time within a bound in transaction mode, as if direct in session mode."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

import oban_style_queue.celeryapp
import pull_worker.celeryapp
from duetime import registry
from duetime.cli.deploy import assess
from duetime.errors import BadUsage, ServiceUnavailable
from duetime.harness.processes.external_services import database_version
from duetime.harness.processes.installation import install
from duetime.harness.processes.services import Endpoints
from duetime.interface import Notification
from duetime.migration import NewDesignTarget
from duetime.runtime.effects import Effects
from duetime.runtime.heartbeat import Heartbeat, read_heartbeat
from duetime.settings import Settings
from push_readmodel import drain_loop
from push_readmodel.connection import connect
from push_readmodel.drain import Drain, drain
from push_readmodel.drain_loop import DrainLoop
from push_readmodel.drain_settings import DrainSettings
from push_readmodel.scheduler import ReadModelScheduler
from push_readmodel.schema import metadata
from push_readmodel.status import status
from push_readmodel.variants.delete_first import DrainDeletingFirst
from tests.designs.read_model import FAR, RecordingGateway, note, running, schedule, stored
from tests.designs.test_migration import RecordingScheduler
from tests.eventually import assert_eventually
from tests.pgbouncer import POOL_SIZE, PoolMode, pgbouncer

pytestmark = pytest.mark.processes

Through = Callable[[PoolMode], Engine]
BUSY_S = 3.0
"""What a busy machine may add."""


@pytest.fixture(scope="module")
def poolers(shared_servers: Endpoints, tempdir: Path) -> Iterator[Callable[[PoolMode], Path]]:
    """Start a pgbouncer with the mode at its first use; return the directory of its socket."""
    started: dict[PoolMode, Path] = {}
    with ExitStack() as stack:

        def start(mode: PoolMode) -> Path:
            if mode not in started:
                directory = tempdir / f"pgbouncer-{mode}"
                stack.enter_context(pgbouncer(shared_servers.database_url, mode, directory, tempdir=tempdir))
                started[mode] = directory
            return started[mode]

        yield start


@pytest.fixture
def through(poolers: Callable[[PoolMode], Path], engine: Engine) -> Through:
    """Make an engine that leads to this test's database through a pooler."""
    metadata.create_all(engine)
    return lambda mode: engine_at(engine, poolers(mode))


def engine_at(engine: Engine, socket: Path) -> Engine:
    return create_engine(engine.url.update_query_dict({"host": str(socket)}), poolclass=NullPool)


class TimedGateway(RecordingGateway):
    """Records how late each delivery is."""

    def __init__(self) -> None:
        super().__init__()
        self.late_s: list[float] = []

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.late_s.append(time.time() - notification.due_at.timestamp())
        super().deliver(notification, attempt=attempt)


def schedule_soon(engine: Engine, number: int) -> None:
    """Schedule so many notifications, one after the other, each due after 20 ms."""
    for key in map(str, range(number)):
        schedule(engine, note(key, due_at=datetime.now(UTC) + timedelta(seconds=0.02)))
        time.sleep(0.1)


def sessions(pooled: Engine) -> list[set[tuple[str, str]]]:
    """Return the settings, channels and prepared statements of every session of the pool."""
    query = """
        SELECT name, setting FROM pg_settings WHERE name NOT LIKE 'transaction%%' AND name <> 'application_name'
        UNION ALL SELECT 'listens to', channel FROM pg_listening_channels() AS channel
        UNION ALL SELECT 'prepared', name FROM pg_prepared_statements
    """
    with ExitStack() as held:
        # All at the same time, so that each has another session.
        connections = [held.enter_context(pooled.begin()) for _ in range(POOL_SIZE)]
        return [{(row.name, row.setting) for row in connection.exec_driver_sql(query)} for connection in connections]


def advisory_locks(engine: Engine) -> int:
    query = """
        SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(query).scalar_one())


def test_in_transaction_mode_every_row_comes_once_within_a_second_and_the_log_gives_the_reason(
    through: Through, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    pooled, gateway = through("transaction"), TimedGateway()
    loops = [DrainLoop(pooled, gateway) for _ in range(2)]
    with running(*loops), caplog.at_level(logging.WARNING):
        assert_eventually(lambda: caplog.text.count("this worker checks once a second because") == 2, within_s=10)
        schedule_soon(pooled, number=20)
        assert_eventually(lambda: stored(engine) == [], within_s=10)

    assert sorted(gateway.ops) == sorted(f"{key}/1" for key in range(20))
    assert max(gateway.late_s) < 1.0 + drain_loop.STAND_BY_S + BUSY_S
    assert "set DUETIME_DIRECT_DATABASE_URL" in caplog.text


def test_in_session_mode_the_drain_is_woken_as_if_direct(through: Through, caplog: pytest.LogCaptureFixture) -> None:
    gateway = TimedGateway()
    pooled = through("session")
    with running(DrainLoop(pooled, gateway)):
        schedule_soon(pooled, number=11)
        assert_eventually(lambda: len(gateway.ops) == 11, within_s=10)

    assert caplog.text == ""
    assert sorted(gateway.late_s)[5] < 0.2


def test_a_direct_connection_beside_the_pooler_wakes_the_drain(
    through: Through, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = TimedGateway()
    pooled = through("transaction")
    with running(DrainLoop(engine, gateway, application=pooled)):
        schedule_soon(pooled, number=11)
        assert_eventually(lambda: len(gateway.ops) == 11, within_s=10)

    assert caplog.text == ""
    assert sorted(gateway.late_s)[5] < 0.2


@contextmanager
def nothing_is_left(pooled: Engine, engine: Engine) -> Iterator[None]:
    """Check that the block leaves nothing in the sessions of the pool."""
    before = sessions(pooled)[0]
    yield
    assert [after ^ before for after in sessions(pooled)] == [set()] * POOL_SIZE
    assert advisory_locks(engine) == 0


@pytest.mark.parametrize("drain_class", [Drain, DrainDeletingFirst])
def test_a_drain_leaves_nothing_in_the_sessions_of_the_application(
    through: Through, engine: Engine, drain_class: type[Drain]
) -> None:
    pooled, gateway = through("transaction"), RecordingGateway(refuse="x")
    with nothing_is_left(pooled, engine):
        with running(DrainLoop(pooled, gateway, drain_class)):
            schedule(engine, *(note(str(key)) for key in range(50)), note("r", recipient="x"))
            assert_eventually(lambda: len(gateway.ops) == 50, within_s=10)
        schedule(engine, note("again"))
        assert drain(pooled, gateway) == 1


def test_drains_in_a_pool_of_threads_work_without_a_session(through: Through, engine: Engine) -> None:
    pooled, gateway = through("transaction"), RecordingGateway()
    with nothing_is_left(pooled, engine), ThreadPoolExecutor(max_workers=3) as pool:
        loop = DrainLoop(pooled, gateway, drain_settings=DrainSettings(threads=3, batch_most=5), submit=pool.submit)
        with running(loop):
            schedule(engine, *(note(str(key)) for key in range(60)))
            assert_eventually(lambda: stored(engine) == [], within_s=10)

    assert sorted(gateway.ops) == sorted(f"{key}/1" for key in range(60))


def test_a_failed_effect_keeps_the_prepared_statements_of_the_application(through: Through, engine: Engine) -> None:
    pooled, gateway = through("transaction"), RecordingGateway()
    effects = Effects({"test": "SELECT 1 / 0"}, worker="test")
    with pooled.begin() as connection:
        connection.exec_driver_sql("PREPARE of_the_application AS SELECT 1")
        schedule(engine, note("a"), note("b"))
        with closing(Drain(connect(pooled), gateway, effects=effects)) as draining:
            draining.drain_all()
            connection.exec_driver_sql("EXECUTE of_the_application")
        connection.exec_driver_sql("DEALLOCATE of_the_application")

    assert stored(engine) == ["a/1", "b/1"]


def test_a_pooler_that_appears_later_is_noticed_and_so_is_its_end(
    through: Through,
    engine: Engine,
    poolers: Callable[[PoolMode], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drain_loop, "LOOK_FOR_POOLER_EVERY_S", 2.0)
    host, file = tmp_path / "host", tmp_path / "heartbeat"
    host.symlink_to(str(engine.url.query["host"]))
    gateway = RecordingGateway()
    moving = engine_at(engine, host)
    with running(DrainLoop(moving, gateway, heartbeat=Heartbeat(file))):
        schedule(engine, note("before"))
        assert gateway.delivered.wait(timeout=10)
        # Committed, else the end of its connection brings it again.
        assert_eventually(lambda: stored(engine) == [])
        host.unlink()
        host.symlink_to(poolers("transaction"))
        with engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert_eventually(lambda: "transaction pooler" in health(file), within_s=10)
        schedule(engine, note("after"))
        expected = ["before/1", "after/1"]
        assert_eventually(lambda: gateway.ops == expected, within_s=10, message=lambda: str(gateway.ops))
        host.unlink()
        host.symlink_to(str(engine.url.query["host"]))
        assert_eventually(lambda: "transaction pooler" not in health(file), within_s=10)


def health(file: Path) -> str:
    return assess(read_heartbeat(file), time.monotonic_ns(), patience_s=30)[1]


def test_status_says_that_workers_are_late_and_whether_the_direct_url_helps(
    through: Through, engine: Engine, settings: Settings
) -> None:
    pooled = through("transaction")
    direct = replace(settings, direct_database_url=engine.url.render_as_string(hide_password=False))
    not_direct = replace(settings, direct_database_url=pooled.url.render_as_string(hide_password=False))
    away = replace(settings, direct_database_url="postgresql+psycopg://postgres@127.0.0.1:1/x")

    with nothing_is_left(pooled, engine):
        assert status(settings, pooled).note.startswith("each worker checks once a second because")
        assert status(not_direct, pooled).note.startswith("DUETIME_DIRECT_DATABASE_URL is not direct: each worker")
    assert status(away, pooled).note.startswith("DUETIME_DIRECT_DATABASE_URL does not answer")
    assert [status(direct, pooled).note, status(settings, through("session")).note, status(settings, engine).note] == [
        "",
        "",
        "",
    ]


def test_a_direct_url_that_names_another_database_ends_the_worker(
    through: Through, engine: Engine, shared_servers: Endpoints, settings: Settings
) -> None:
    other = create_engine(shared_servers.database_url, poolclass=NullPool)
    message = "DUETIME_DIRECT_DATABASE_URL names another database"

    with pytest.raises(BadUsage, match=message):
        DrainLoop(other, RecordingGateway(), application=through("transaction")).run()
    with pytest.raises(BadUsage, match=message):
        status(replace(settings, direct_database_url=shared_servers.database_url), engine)


def test_a_pooler_in_statement_mode_ends_the_worker(through: Through) -> None:
    with pytest.raises(BadUsage, match="a pooler in statement mode, which allows no transactions"):
        loop = DrainLoop(through("statement"), RecordingGateway())
        stop = threading.Timer(5, loop.stop)
        stop.start()
        try:
            loop.run()
        finally:
            stop.cancel()


def test_install_through_a_pooler_leaves_no_lock_and_no_prepared_statement(through: Through, engine: Engine) -> None:
    designs, pooled = (
        [registry.load("push_readmodel"), registry.load("oban_style_queue:staged")],
        through("transaction"),
    )
    url = pooled.url.render_as_string(hide_password=False)

    with nothing_is_left(pooled, engine):
        install(url, designs)
    install(engine.url.render_as_string(hide_password=False), designs)
    install(url, designs)


def test_rows_are_migrated_through_a_pooler(through: Through, engine: Engine, settings: Settings) -> None:
    pooled = through("transaction")
    migrating = create_engine(pooled.url, connect_args=replace(settings, database_url=str(pooled.url)).driver_options)
    registry.load("push_readmodel-to-oban_style_queue").install(engine)
    with Session(engine) as session:
        ReadModelScheduler().schedule_many([note(str(key), due_at=FAR) for key in range(1500)], session=session)
        session.commit()
    design = registry.load("push_readmodel")
    assert design.migrate is not None

    target = NewDesignTarget("push_readmodel-to-oban_style_queue", RecordingScheduler())
    with nothing_is_left(pooled, engine):
        assert design.migrate(settings, migrating, target, None) == 1500
        migrating.dispose()


@pytest.mark.parametrize(
    "design", [pull_worker.celeryapp, oban_style_queue.celeryapp], ids=lambda module: module.__name__
)
def test_the_workers_of_the_other_designs_prepare_no_statements(
    through: Through, engine: Engine, settings: Settings, design: ModuleType
) -> None:
    pooled = through("transaction")
    url = pooled.url.render_as_string(hide_password=False)
    connections = design.Connections(replace(settings, database_url=url)).engine
    with nothing_is_left(pooled, engine):
        for _ in range(12):
            with Session(connections) as session:
                session.execute(text("SELECT 1"))
                session.commit()  # a rollback makes psycopg forget what it would prepare
        connections.dispose()


def test_a_served_worker_says_what_its_pooler_costs_and_delivers_after_it_was_stopped_and_continued(
    through: Through, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    url = through("transaction").url.render_as_string(hide_password=False)
    beats, log_file = tmp_path / "heartbeat", tmp_path / "log"
    environment = replace(settings, design="push_readmodel", database_url=url, heartbeat=beats)
    command = [sys.executable, "-m", "duetime.cli", "serve", "push_readmodel", "--name", "w"]
    with (
        log_file.open("w") as log,
        subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, **environment.environment()}, stdout=log, stderr=log
        ) as worker,
    ):
        try:
            assert_eventually(lambda: "transaction pooler" in health(beats), within_s=60)
            worker.send_signal(signal.SIGSTOP)
            schedule(engine, note("stopped"))
            time.sleep(1.5)
            assert stored(engine) == ["stopped/1"]
            worker.send_signal(signal.SIGCONT)
            assert_eventually(lambda: stored(engine) == [], within_s=1 + BUSY_S)
        finally:
            worker.terminate()
            worker.wait(timeout=20)

    assert settings.deliveries.read_text().count('"stopped/1"') == 1
    assert "this worker checks once a second because a transaction pooler drops every NOTIFY" in log_file.read_text()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_run_on_a_server_behind_a_pooler_is_refused(through: Through, mode: PoolMode) -> None:
    with pytest.raises(ServiceUnavailable, match="leads through a connection pooler"):
        database_version(through(mode).url.render_as_string(hide_password=False))
