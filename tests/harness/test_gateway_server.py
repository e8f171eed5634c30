"""The gateway over HTTP: what a worker in any language sends, and what a run records."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from duetime.harness.processes.gateway_process import GatewayProcess
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE, InjectedGatewayFault
from duetime.settings import Settings
from tests.commands import json_lines

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


def post(client: HTTPConnection, body: str) -> tuple[int, str]:
    client.request("POST", "/deliver", body)
    answer = client.getresponse()
    return answer.status, answer.read().decode()


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

    assert len(json_lines(settings.deliveries) if settings.deliveries.exists() else []) == recorded
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
