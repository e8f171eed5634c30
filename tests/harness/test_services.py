"""The user's own servers, a broker that is down, and workers that crash or are killed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import Engine, make_url
from sqlalchemy.orm import Session

from duetime import registry
from duetime.clock import system_clock
from duetime.errors import ServiceUnavailable
from duetime.harness.processes.embedded_servers import free_port
from duetime.harness.processes.external_services import own_broker_database
from duetime.harness.processes.services import Endpoints
from duetime.harness.processes.supervisor import Supervisor
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.interface import Notification, Role
from duetime.settings import Settings
from push_readmodel.scheduler import ReadModelScheduler
from tests.commands import duetime
from tests.eventually import assert_eventually

pytestmark = pytest.mark.processes


def databases(url: str) -> set[str]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()}


def test_a_run_on_the_users_own_servers_leaves_nothing_on_them(shared_servers: Endpoints, tmp_path: Path) -> None:
    before = databases(shared_servers.database_url)
    with redis.Redis.from_url(shared_servers.broker_url) as broker:
        done = duetime(
            *("run", "push_readmodel", "calm", "--json", "--out", str(tmp_path)),
            DUETIME_DATABASE_URL=shared_servers.database_url.replace("postgresql+psycopg", "postgresql"),
            DUETIME_BROKER_URL=shared_servers.broker_url,
        )

        assert json.loads(done.stdout)["cells"][0]["outcome"] == "pass", done.stderr
        assert done.returncode == 0
        assert databases(shared_servers.database_url) == before
        assert broker.keys() == []


def test_a_broker_database_in_use_by_another_run_is_refused(shared_servers: Endpoints) -> None:
    with own_broker_database(shared_servers.broker_url, 0):
        with pytest.raises(ServiceUnavailable, match="is not empty"), own_broker_database(shared_servers.broker_url, 0):
            pass
        with own_broker_database(shared_servers.broker_url, 1) as other:
            assert other.endswith("/1")
    with own_broker_database(shared_servers.broker_url, 0):
        pass


def test_a_broker_database_that_is_not_empty_is_refused_and_not_changed(
    shared_servers: Endpoints, tmp_path: Path
) -> None:
    with redis.Redis.from_url(shared_servers.broker_url) as broker:
        broker.set("key of the user", "data")
        try:
            done = duetime(
                *("run", "push_readmodel", "calm", "--json", "--out", str(tmp_path)),
                DUETIME_BROKER_URL=shared_servers.broker_url,
            )
        finally:
            kept = broker.getdel("key of the user")

    assert kept == b"data"
    assert done.returncode == 2
    assert "not empty" in done.stdout + done.stderr


def test_the_drain_delivers_while_the_broker_is_down(
    settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path
) -> None:
    design = registry.load("push_readmodel")
    design.install(engine)
    without_broker = replace(settings, design=design.name, broker_url=f"redis://127.0.0.1:{free_port()}/0")
    worker = WorkerProcess(
        name="worker-1",
        role=design.roles[0],
        settings=without_broker,
        state=tmp_path / "state",
        log=tmp_path / "log",
        tempdir=tempdir,
    )
    with Session(engine) as session:
        notification = Notification(key="k", revision=1, kind="test", recipient="a@b.example", due_at=system_clock())
        ReadModelScheduler().schedule(notification, session=session)
        session.commit()
    worker.start()
    try:
        assert_eventually(lambda: settings.deliveries.exists() and settings.deliveries.stat().st_size > 0, within_s=30)
        assert worker.alive()
    finally:
        worker.end()

    assert json.loads(settings.deliveries.read_text())["op"] == "k/1"
    assert "Cannot connect to redis" in (tmp_path / "log").read_text()


def test_a_crashed_worker_is_restarted_and_a_killed_worker_is_not(
    settings: Settings, tempdir: Path, tmp_path: Path
) -> None:
    workers = [
        WorkerProcess(
            name=name,
            role=Role(name="worker", argv=(sys.executable, "-c", program), ready="serving"),
            settings=settings,
            state=tmp_path / name,
            log=tmp_path / f"{name}.log",
            tempdir=tempdir,
        )
        for name, program in {
            "crashes": "print('serving', flush=True); raise SystemExit(70)",
            "stays": "import time; print('serving', flush=True); time.sleep(600)",
        }.items()
    ]
    crashes, stays = workers
    supervisor = Supervisor(workers)
    for worker in workers:
        worker.start()
    assert_eventually(lambda: "serving" in (tmp_path / "stays.log").read_text(), within_s=10)
    supervisor.start()
    try:
        stays.kill()
        assert_eventually(lambda: (tmp_path / "crashes.log").read_text().count("serving") >= 3, within_s=30)
    finally:
        supervisor.stop()
        crashes.end()

    assert stays.gone()
    assert {(restart["worker"], restart["status"]) for restart in supervisor.restarts} == {("crashes", 70)}


def test_a_killed_worker_is_gone_together_with_a_child_that_left_its_process_group(
    settings: Settings, tempdir: Path, tmp_path: Path
) -> None:
    runaway = "import os, time; os.fork() or os.setsid(); print('serving', os.getpid(), flush=True); time.sleep(600)"
    worker = WorkerProcess(
        name="worker-1",
        role=Role(name="worker", argv=(sys.executable, "-c", runaway), ready="serving"),
        settings=settings,
        state=tmp_path / "state",
        log=tmp_path / "log",
        tempdir=tempdir,
    )
    worker.start()
    assert_eventually(lambda: (tmp_path / "log").read_text().count("serving") == 2, within_s=10)
    assert len(worker.pids()) == 2

    evidence = worker.end()

    assert worker.pids() == []
    assert "status -9, every process of this worker gone" in evidence


@pytest.mark.parametrize("then", ["print('imported', flush=True); time.sleep(600)", "raise SystemExit(3)"])
def test_a_worker_is_silent_until_it_logs_a_line_or_ends(
    then: str, settings: Settings, tempdir: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    program = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n{then}"
    worker = WorkerProcess(
        name="worker-1",
        role=Role(name="worker", argv=(sys.executable, "-c", program), ready="serving"),
        settings=settings,
        state=tmp_path / "state",
        log=tmp_path / "log",
        tempdir=tempdir,
    )
    worker.start()
    try:
        assert worker.silent()
        go.touch()
        assert_eventually(lambda: not worker.silent())
    finally:
        worker.end()


def test_a_free_port_is_none_that_the_kernel_gives_to_an_outgoing_connection() -> None:
    """A server that is killed and restarted would find its port taken."""
    range_file = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not range_file.exists():
        pytest.skip("this system does not say which ports it gives to connections")
    first, last = map(int, range_file.read_text().split())

    assert not [port for port in (free_port() for _ in range(200)) if first <= port <= last]
