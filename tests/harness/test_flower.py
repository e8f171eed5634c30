"""Flower as duetime starts it: readable by whoever is on this machine, harmless, and gone afterwards."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
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
def directory(tempdir: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    return tempdir / request.node.name[:40] / "flower"


def asked(url: str, method: str, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_it_answers_without_a_password_changes_nothing_and_leaves_nothing(
    endpoints: Endpoints, tempdir: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a user has set for the Flower of docker-compose.yml.
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "user:password")
    before = set(members(tempdir))

    with Flower(directory, broker_url=endpoints.broker_url) as flower:
        status, body = asked(flower.url, "GET", "/api/tasks")
        assert (status, json.loads(body)) == (200, {})
        assert b">ETA<" in asked(flower.url, "GET", "/tasks")[1]
        assert asked(flower.url, "POST", "/api/task/send-task/anything")[0] == 403
        started = set(members(tempdir)) - before
        # By its environment it belongs to the workplace, with which it would end if all else did not end it.
        assert len(started) == 1
        assert endpoints.broker_url not in " ".join(started.pop().cmdline())
        port = urlsplit(flower.url).port

    assert set(members(tempdir)) == before
    socket.create_server(("127.0.0.1", port or 0)).close()


def test_one_that_cannot_start_says_why(directory: Path) -> None:
    flower = Flower(directory, broker_url="nonsense://nowhere")

    with pytest.raises(HarnessError, match=r"the dashboard did not start(.|\n)*nonsense"), flower:
        pass
