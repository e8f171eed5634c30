"""Celery on RabbitMQ behind ``schedule()``: its server leaves nothing, and what a revoke reaches, by real processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from contenders.celery_rabbitmq.design import HERE, RABBITMQ, design, tuned
from duetime import contenders
from duetime.harness.processes.design_services import DesignServer, design_service
from duetime.harness.processes.gateway_process import GatewayProcess
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.interface import Design
from duetime.settings import Settings
from tests.commands import json_lines
from tests.eventually import assert_eventually

pytestmark = [
    pytest.mark.full,
    pytest.mark.processes,
    pytest.mark.contenders,
    pytest.mark.skipif(
        bool(missing := contenders.missing("celery_rabbitmq")), reason=f"contender:celery_rabbitmq: {missing}"
    ),
]
CLIENT = """
import sys
from datetime import UTC, datetime, timedelta
from contenders.celery_rabbitmq.design import CeleryOnRabbitMq
from duetime.interface import Notification

scheduler = CeleryOnRabbitMq(sys.argv[1])
app, deliver = scheduler._app, scheduler._deliver

def publish(key, in_s):
    due_at = datetime.now(UTC) + timedelta(seconds=in_s)
    scheduler._publish(Notification(key=key, revision=1, kind="test", recipient="a@b.example", due_at=due_at))
    print(due_at.timestamp())

exec(sys.argv[2])
"""


@pytest.fixture
def rabbitmq(tempdir: Path, tmp_path: Path) -> Iterator[DesignServer]:
    with design_service(RABBITMQ, tmp_path / "rabbitmq", tempdir=tempdir) as server:
        yield server


@pytest.fixture
def running(settings: Settings, rabbitmq: DesignServer) -> Settings:
    return replace(settings, services={"rabbitmq": rabbitmq.url()})


def client(of: Design, settings: Settings, code: str) -> str:
    """Execute `code` as a client of the application; return what it printed."""
    application = "tuned" if of is tuned else "celeryapp"
    environment = {**os.environ, **settings.environment(), **HERE.environment(settings.database_url, "")}
    command = [HERE.python, "-c", CLIENT, application, code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def gateway(running: Settings, tempdir: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    process = GatewayProcess(tmp_path / "gateway.sock", running, tempdir=tempdir)
    yield process
    process.end()


def worker_of(
    of: Design, settings: Settings, gateway: GatewayProcess, *, tempdir: Path, directory: Path
) -> WorkerProcess:
    return WorkerProcess(
        name="worker-1",
        role=of.roles[0],
        settings=settings,
        state=directory / "state",
        log=directory / "log",
        tempdir=tempdir,
        environment=gateway.environment,
        contender=HERE,
    )


def delivered(settings: Settings) -> set[str]:
    return {line["key"] for line in json_lines(settings.deliveries)} if settings.deliveries.exists() else set()


def test_its_ports_are_on_loopback_and_nothing_is_left_of_it(tempdir: Path, tmp_path: Path) -> None:
    with design_service(RABBITMQ, tmp_path / "rabbitmq", tempdir=tempdir):
        servers = [each for each in psutil.process_iter() if belongs(each, tmp_path / "rabbitmq")]
        names = {server.name() for server in servers}
        listening = [
            each.laddr.ip
            for server in servers
            for each in server.net_connections(kind="tcp")
            if each.status == psutil.CONN_LISTEN
        ]

    assert names >= {"beam.smp", "epmd"}
    assert len(listening) >= 3
    assert set(listening) <= {"127.0.0.1", "::1"}
    assert_eventually(lambda: not list(filter(still_runs, servers)))


def still_runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def belongs(process: psutil.Process, directory: Path) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return process.environ().get("HOME") == str(directory) and process.name() != "sh"
    return False


@pytest.mark.parametrize(("of", "heard"), [(design, False), (tuned, True)], ids=["default", "tuned"])
def test_a_revoke_that_is_sent_while_the_worker_is_down_is_heard_by_a_tuned_one(
    of: Design, heard: bool, running: Settings, gateway: GatewayProcess, tempdir: Path, tmp_path: Path
) -> None:
    worker = worker_of(of, running, gateway, tempdir=tempdir, directory=tmp_path)
    worker.start()
    assert_eventually(worker.serving, within_s=60)
    client(of, running, "publish('cancelled', 15)")
    worker.end()
    client(of, running, "app.control.revoke(['cancelled/1'])")
    worker.start()
    try:
        assert_eventually(worker.serving, within_s=60)
        client(of, running, "publish('wanted', 16)")
        assert_eventually(lambda: "wanted" in delivered(running), within_s=40)
    finally:
        worker.end()

    assert delivered(running) == ({"wanted"} if heard else {"wanted", "cancelled"})


def test_what_is_due_in_less_than_a_second_is_refused_by_celery_and_delivered_by_the_adapter(
    running: Settings, gateway: GatewayProcess, tempdir: Path, tmp_path: Path
) -> None:
    worker = worker_of(design, running, gateway, tempdir=tempdir, directory=tmp_path)
    worker.start()
    try:
        assert_eventually(worker.serving, within_s=60)
        refused = """
try:
    deliver.apply_async(("k", 1), eta=datetime.now(UTC) + timedelta(seconds=0.5))
except ValueError as error:
    print(error)
"""
        assert client(design, running, refused) == "countdown must be a positive number\n"

        client(design, running, "publish('soon', 0.5); publish('overdue', -5)")
        assert_eventually(lambda: delivered(running) == {"soon", "overdue"})
    finally:
        worker.end()


@pytest.mark.parametrize(("of", "kept"), [(design, False), (tuned, True)], ids=["default", "tuned"])
def test_a_worker_that_stops_forgets_a_revoke_of_three_hours_ago_unless_tuned(of: Design, kept: bool) -> None:
    code = (
        "import time; from celery.worker import state;"
        "state.revoked.add('old', now=time.monotonic() - 10_801); state.revoked.purge(); print('old' in state.revoked)"
    )
    environment = {**os.environ, **of.roles[0].environment}
    done = subprocess.run([HERE.python, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout == f"{kept}\n", done.stderr


@pytest.mark.parametrize(
    ("application", "other", "max_retries"), [("celeryapp", "tuned", 3), ("tuned", "celeryapp", 10)]
)
def test_a_worker_has_the_task_of_its_own_application_and_no_other(
    application: str, other: str, max_retries: int
) -> None:
    # With both in one process, chance decides whose task of the same name both applications get.
    code = f"import sys, {application} as it; print(it.app.tasks['deliver'].max_retries, {other!r} in sys.modules)"
    environment = {
        **os.environ,
        **HERE.environment("postgresql://localhost/none", ""),
        "DUETIME_SERVICE_RABBITMQ": "amqp://",
    }
    done = subprocess.run([HERE.python, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout == f"{max_retries} False\n", done.stderr
