"""The outside world in trouble: what is recorded reached somebody, whatever the design is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from duetime.interface import Notification
from duetime.runtime.gateway import JournalGateway
from duetime.runtime.gateway_faults import AnswerLost, GatewayRefused, InjectedGatewayFault


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trouble.json"


@pytest.fixture
def gateway(tmp_path: Path, file: Path) -> JournalGateway:
    return JournalGateway(tmp_path / "deliveries", worker="w", delivery_time=timedelta(), fault_file=file)


def note(key: str) -> Notification:
    return Notification(key=key, revision=1, kind="t", recipient="r", due_at=datetime.now(UTC))


def arrived(tmp_path: Path) -> list[str]:
    return [json.loads(line)["key"] for line in (tmp_path / "deliveries").read_text().splitlines()]


def test_what_is_refused_did_not_arrive(gateway: JournalGateway, file: Path, tmp_path: Path) -> None:
    InjectedGatewayFault(mode="refuse").begin(file)

    with pytest.raises(GatewayRefused):
        gateway.deliver(note("a"))

    assert arrived(tmp_path) == []
    assert InjectedGatewayFault.hit_count(file) == 1


def test_an_answer_that_is_lost_is_lost_after_the_arrival(gateway: JournalGateway, file: Path, tmp_path: Path) -> None:
    InjectedGatewayFault(mode="lose_answer").begin(file)

    with pytest.raises(AnswerLost):
        gateway.deliver(note("a"))

    assert arrived(tmp_path) == ["a"]


def test_trouble_with_one_recipient_is_nobody_elses(gateway: JournalGateway, file: Path, tmp_path: Path) -> None:
    InjectedGatewayFault(mode="refuse", only=("b", "x:")).begin(file)

    gateway.deliver(note("a"))
    for key in ("b", "x:1"):
        with pytest.raises(GatewayRefused):
            gateway.deliver(note(key))

    assert arrived(tmp_path) == ["a"]


def test_when_the_trouble_is_over_everything_is_as_before(gateway: JournalGateway, file: Path, tmp_path: Path) -> None:
    InjectedGatewayFault(mode="refuse").begin(file)
    InjectedGatewayFault.end(file)
    InjectedGatewayFault.end(file)  # safe to repeat

    gateway.deliver(note("a"))

    assert arrived(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "end",
    [InjectedGatewayFault.end, InjectedGatewayFault(mode="refuse").begin],
    ids=["alone", "another follows at once"],
)
def test_a_hanging_delivery_ends_with_the_trouble_and_has_failed(
    gateway: JournalGateway, file: Path, tmp_path: Path, end: Callable[[Path], None]
) -> None:
    InjectedGatewayFault(mode="hang").begin(file)
    outcome: list[BaseException] = []

    def deliver() -> None:
        try:
            gateway.deliver(note("a"))
        except GatewayRefused as refused:
            outcome.append(refused)

    thread = threading.Thread(target=deliver)
    thread.start()
    while not InjectedGatewayFault.hit_count(file):
        time.sleep(0.001)
    assert thread.is_alive()
    end(file)
    thread.join(timeout=5)

    assert len(outcome) == 1
    assert arrived(tmp_path) == []


def test_a_slow_delivery_takes_longer_and_arrives(gateway: JournalGateway, file: Path, tmp_path: Path) -> None:
    InjectedGatewayFault(mode="slow", seconds=0.2).begin(file)
    started = time.monotonic()

    gateway.deliver(note("a"))

    assert time.monotonic() - started >= 0.2
    assert arrived(tmp_path) == ["a"]
