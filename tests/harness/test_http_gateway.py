"""The designs of this project can deliver over HTTP, so that their speed is compared by the rules of libraries."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from duetime.clock import system_clock
from duetime.harness.processes.gateway_process import GatewayProcess
from duetime.interface import Notification
from duetime.runtime.gateway import DELIVER_TO, JournalGateway, gateway_from
from duetime.runtime.http_gateway import HttpGateway, NotDelivered
from duetime.settings import Settings
from tests.commands import json_lines

NOTE = Notification(key="a:1", revision=3, kind="test", recipient="a@b.example", due_at=system_clock())


@pytest.fixture
def answers() -> Iterator[tuple[str, list[int]]]:
    """The address of a gateway that answers with the statuses in the list, and closes the connection after each."""
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if statuses:
                self.send_response(statuses.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/deliver", statuses
        server.shutdown()


def test_a_design_delivers_over_http_where_its_address_is_set(
    settings: Settings, tempdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = replace(settings, deliveries=tmp_path / "remote.jsonl")
    own = replace(settings, deliveries=tmp_path / "own.jsonl", worker="worker-7")
    assert not isinstance(gateway_from(own), HttpGateway)
    process = GatewayProcess(tmp_path / "state" / "gateway.sock", remote, tempdir=tempdir)
    try:
        monkeypatch.setenv(DELIVER_TO, process.environment["DUETIME_GATEWAY_URL"])
        gateway = gateway_from(own)
        for attempt in (1, 2):
            gateway.deliver(NOTE, attempt=attempt)
        gateway.close()
    finally:
        process.end()

    lines = json_lines(remote.deliveries)
    assert [(line["op"], line["worker"], line["attempt"]) for line in lines] == [
        ("a:1/3", "worker-7", 1),
        ("a:1/3", "worker-7", 2),
    ]
    assert not own.deliveries.exists() or json_lines(own.deliveries) == []


def test_another_answer_is_an_error_and_the_next_delivery_connects_again(
    answers: tuple[str, list[int]], settings: Settings
) -> None:
    url, statuses = answers
    gateway: JournalGateway = HttpGateway(url, settings)
    statuses += [503, 204]
    with pytest.raises(NotDelivered, match=r"503 .* to a:1/3"):
        gateway.deliver(NOTE)
    gateway.deliver(NOTE)

    with pytest.raises((OSError, http.client.HTTPException)):
        gateway.deliver(NOTE)  # no answer at all
    statuses.append(204)
    gateway.deliver(NOTE)
    gateway.close()
