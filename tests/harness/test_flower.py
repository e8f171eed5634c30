"""Flower as duetime starts it: readable without a password, read-only, and gone afterwards."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from duetime.errors import HarnessError
from duetime.harness.processes.cleanup import members
from duetime.harness.processes.flower import Flower
from duetime.harness.processes.services import Endpoints

pytestmark = pytest.mark.processes


@pytest.fixture
def directory(tempdir: Path, request: pytest.FixtureRequest) -> Path:
    name: str = request.node.name
    return tempdir / name[:40] / "flower"


def response(url: str, method: str, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_flower_answers_without_a_password_changes_nothing_and_leaves_nothing(
    endpoints: Endpoints, tempdir: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a user may have set it for the Flower of docker-compose.yml.
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "user:password")
    before = set(members(tempdir))

    with Flower(directory, tempdir=tempdir, broker_url=endpoints.broker_url) as flower:
        status, body = response(flower.url, "GET", "/api/tasks")
        assert (status, json.loads(body)) == (200, {})
        assert b">ETA<" in response(flower.url, "GET", "/tasks")[1]
        assert response(flower.url, "POST", "/api/task/send-task/anything")[0] == 403
        started = set(members(tempdir)) - before
        # Owned by the temporary directory, so that it would end with it.
        assert len(started) == 1
        assert endpoints.broker_url not in " ".join(started.pop().cmdline())
        port = urlsplit(flower.url).port

    assert set(members(tempdir)) == before
    socket.create_server(("127.0.0.1", port or 0)).close()


def test_the_error_of_a_flower_that_cannot_start_has_its_log(tempdir: Path, directory: Path) -> None:
    flower = Flower(directory, tempdir=tempdir, broker_url="nonsense://nowhere")

    with pytest.raises(HarnessError, match=r"the dashboard did not start(.|\n)*nonsense"), flower:
        pass
