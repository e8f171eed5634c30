"""The gateway over HTTP: what a worker in any language sends, and what a run records."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from socketserver import BaseRequestHandler
from urllib.parse import urlsplit

import pytest

from duetime.harness.processes.gateway_process import GatewayProcess
from duetime.runtime.delivery_phases import PHASES_FILE, DeliveryPhase, Hold
from duetime.runtime.failpoints import Failpoint, Point, hits
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE, InjectedGatewayFault
from duetime.runtime.gateway_server import _OverTcp
from duetime.runtime.jsonl import complete_records
from duetime.settings import Settings
from tests.commands import json_lines
from tests.eventually import assert_eventually

BODY = {"key": "a:1", "revision": 2, "worker": "worker-7", "attempt": 3}


@pytest.fixture
def gateway(settings: Settings, tempdir: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    running = GatewayProcess(tmp_path / "gateway.sock", settings, tempdir=tempdir)
    yield running
    running.end()


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[HTTPConnection]:
    address = urlsplit(gateway.environment["DUETIME_GATEWAY_URL"])
    with closing(HTTPConnection(address.hostname or "", address.port, timeout=10)) as connection:
        yield connection


@pytest.fixture
def phases(settings: Settings) -> Path:
    """The file of the phases; a run makes it before its processes start."""
    file = settings.deliveries.with_name(PHASES_FILE)
    file.touch()
    settings.deliveries.touch()
    return file


def post(client: HTTPConnection, body: str) -> tuple[int, str]:
    client.request("POST", "/deliver", body)
    answer = client.getresponse()
    return answer.status, answer.read().decode()


def count(deliveries: Path) -> int:
    return len(json_lines(deliveries)) if deliveries.exists() else 0


def test_a_delivery_is_recorded_with_its_worker_attempt_and_time(client: HTTPConnection, settings: Settings) -> None:
    before_ns = time.monotonic_ns()

    assert [post(client, json.dumps(BODY)) for _ in range(2)] == [(204, "")] * 2

    first, second = json_lines(settings.deliveries)
    assert {name: first[name] for name in BODY} == BODY
    assert first["op"] == "a:1/2"
    assert before_ns < first["at_ns"] < second["at_ns"] < time.monotonic_ns()


def test_the_unix_socket_takes_the_same_request(
    gateway: GatewayProcess, client: HTTPConnection, settings: Settings
) -> None:
    client.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.sock.connect(gateway.environment["DUETIME_GATEWAY_SOCKET"])

    assert post(client, json.dumps(BODY)) == (204, "")
    assert len(json_lines(settings.deliveries)) == 1


@pytest.mark.parametrize(("mode", "recorded"), [("refuse", 0), ("lose_answer", 1)])
def test_a_fault_of_the_gateway_reaches_the_worker(
    client: HTTPConnection, settings: Settings, mode: str, recorded: int
) -> None:
    fault_file = settings.deliveries.with_name(GATEWAY_FAULT_FILE)
    InjectedGatewayFault(mode=mode).begin(fault_file)  # type: ignore[arg-type]  # parametrised
    if mode == "refuse":
        assert post(client, json.dumps(BODY))[0] == 503
    else:
        with pytest.raises(RemoteDisconnected):
            post(client, json.dumps(BODY))

    assert count(settings.deliveries) == recorded
    assert InjectedGatewayFault.hit_count(fault_file) == 1
    InjectedGatewayFault.end(fault_file)
    assert post(client, json.dumps(BODY)) == (204, "")


@pytest.mark.parametrize("body", ["", "no JSON", "[1]", '{"key": "a"}', '{"key": "a", "revision": "x", "worker": "w"}'])
def test_a_mistake_in_the_request_is_explained_and_ends_nothing(client: HTTPConnection, body: str) -> None:
    status, sentence = post(client, body)

    assert status == 400
    assert '"revision": 1' in sentence
    assert post(client, json.dumps(BODY)) == (204, "")


def test_a_body_that_is_too_large_is_refused_unread(client: HTTPConnection) -> None:
    client.putrequest("POST", "/deliver")
    client.putheader("Content-Length", str(2 << 20))
    client.endheaders()

    assert client.getresponse().status == 413


@pytest.mark.parametrize(("error", "printed"), [(ConnectionResetError(), False), (ValueError("a defect"), True)])
def test_only_an_error_of_the_connection_is_not_printed(
    error: Exception, printed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(BaseRequestHandler):
        def handle(self) -> None:
            raise error

    ours, theirs = socket.socketpair()
    with ours, _OverTcp(("127.0.0.1", 0), Failing) as server:
        server.process_request_thread(theirs, ("127.0.0.1", 1))

    assert (type(error).__name__ in capsys.readouterr().err) is printed


def steps(phases: Path) -> list[str]:
    return [record["step"] for record in complete_records(phases)]


def held(phase: DeliveryPhase, client: HTTPConnection, deliveries: Path) -> Hold:
    """Send a request that the gateway holds in `phase`."""
    hold = Hold.arm(deliveries, phase, nth=1)
    client.request("POST", "/deliver", json.dumps(BODY))
    assert_eventually(lambda: hold.chosen(deliveries))
    return hold


@pytest.mark.parametrize("phase", ["before", "between"])
def test_a_held_request_whose_worker_ends_is_dropped_and_the_next_one_is_not(
    phases: Path, client: HTTPConnection, settings: Settings, phase: DeliveryPhase
) -> None:
    hold = held(phase, client, settings.deliveries)
    recorded = len(json_lines(settings.deliveries))

    client.close()
    hold.release(settings.deliveries)
    assert_eventually(lambda: "dropped" in steps(phases))

    assert len(json_lines(settings.deliveries)) == recorded == (0 if phase == "before" else 1)
    assert "answered" not in steps(phases)
    assert post(client, json.dumps(BODY)) == (204, "")
    assert len(json_lines(settings.deliveries)) == recorded + 1


@pytest.mark.parametrize("phase", ["before", "between"])
def test_a_held_request_of_a_worker_that_lives_is_answered(
    phases: Path, client: HTTPConnection, settings: Settings, phase: DeliveryPhase
) -> None:
    hold = held(phase, client, settings.deliveries)

    hold.release(settings.deliveries)

    assert client.getresponse().status == 204
    assert len(json_lines(settings.deliveries)) == 1
    assert_eventually(lambda: steps(phases) == ["begun", "recorded", "answered"])


def test_the_phase_after_the_answer_is_named_when_the_answer_was_sent(
    phases: Path, client: HTTPConnection, settings: Settings
) -> None:
    hold = Hold.arm(settings.deliveries, "after", nth=2)

    assert [post(client, json.dumps({**BODY, "revision": number}))[0] for number in (1, 2)] == [204, 204]
    assert_eventually(lambda: hold.chosen(settings.deliveries))

    assert (hold.chosen(settings.deliveries) or {})["op"] == "a:1/2"


@pytest.mark.parametrize(("point", "recorded"), [("before_deliver", 0), ("after_deliver", 1)])
def test_an_error_of_a_failpoint_reaches_the_worker(
    gateway: GatewayProcess, client: HTTPConnection, settings: Settings, point: Point, recorded: int
) -> None:
    Failpoint(point=point, action="raise").arm(gateway.failpoints)
    if recorded:
        with pytest.raises(RemoteDisconnected):
            post(client, json.dumps(BODY))
    else:
        assert post(client, json.dumps(BODY))[0] == 503

    assert count(settings.deliveries) == recorded
    assert post(client, json.dumps(BODY)) == (204, "")


WORKER = """
import os, sys, urllib.request
if os.fork() == 0:
    os.setpgid(0, 0)  # as RQ does with the process of a job
    sys.stdin.readline()
    try:
        urllib.request.urlopen(urllib.request.Request(sys.argv[1], sys.argv[2].encode()))
    finally:
        print("it goes on after its request", flush=True)
os.wait()
"""


@pytest.mark.parametrize(("point", "recorded"), [("before_deliver", 0), ("after_deliver", 1)])
def test_a_failpoint_kills_every_process_of_the_worker_that_delivers(
    gateway: GatewayProcess, settings: Settings, tmp_path: Path, point: Point, recorded: int
) -> None:
    Failpoint(point=point, action="kill").arm(gateway.failpoints)
    pid_file = tmp_path / "worker-7.pid"
    command = [sys.executable, "-c", WORKER, gateway.environment["DUETIME_GATEWAY_URL"], json.dumps(BODY)]

    # The fork waits for a line, so that the worker is known before it delivers.
    with subprocess.Popen(command, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        pid_file.write_text(str(worker.pid))
        assert worker.stdin
        worker.stdin.write(b"\n")
        worker.stdin.close()
        assert worker.wait(timeout=20) == -signal.SIGKILL
        # The end of its output: the other process, in a group of its own, has ended too.
        assert worker.stdout and worker.stdout.read() == b""

    assert [hit["action"] for hit in hits(gateway.failpoints)] == ["kill"]
    assert count(settings.deliveries) == recorded


def test_a_failpoint_for_a_worker_that_is_not_known_says_so(gateway: GatewayProcess, client: HTTPConnection) -> None:
    Failpoint(point="before_deliver", action="kill").arm(gateway.failpoints)

    status, sentence = post(client, json.dumps({**BODY, "worker": "../nobody"}))

    assert (status, "no worker '../nobody' is known" in sentence) == (503, True)
