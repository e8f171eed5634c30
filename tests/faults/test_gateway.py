"""Faults of the gateway: a notification arrived if and only if it is recorded, whether or not its delivery failed."""

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
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE, AnswerLost, GatewayRefused, InjectedGatewayFault
from tests.eventually import assert_eventually


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / GATEWAY_FAULT_FILE


@pytest.fixture
def gateway(tmp_path: Path, file: Path) -> JournalGateway:
    return JournalGateway(tmp_path / "deliveries", worker="w", delivery_time=timedelta(), fault_file=file)


def notification(key: str) -> Notification:
    return Notification(key=key, revision=1, kind="t", recipient="r", due_at=datetime.now(UTC))


def delivered(tmp_path: Path) -> list[str]:
    return [json.loads(line)["key"] for line in (tmp_path / "deliveries").read_text().splitlines()]


def test_a_refused_notification_is_not_delivered(gateway: JournalGateway, file: Path, tmp_path: Path) -> None:
    InjectedGatewayFault(mode="refuse").begin(file)

    with pytest.raises(GatewayRefused):
        gateway.deliver(notification("a"))

    assert delivered(tmp_path) == []
    assert InjectedGatewayFault.hit_count(file) == 1


def test_a_notification_whose_answer_is_lost_is_delivered(gateway: JournalGateway, file: Path, tmp_path: Path) -> None:
    InjectedGatewayFault(mode="lose_answer").begin(file)

    with pytest.raises(AnswerLost):
        gateway.deliver(notification("a"))

    assert delivered(tmp_path) == ["a"]


def test_a_fault_affects_only_the_keys_with_its_prefixes(gateway: JournalGateway, file: Path, tmp_path: Path) -> None:
    InjectedGatewayFault(mode="refuse", only=("b", "x:")).begin(file)

    gateway.deliver(notification("a"))
    for key in ("b", "x:1"):
        with pytest.raises(GatewayRefused):
            gateway.deliver(notification(key))

    assert delivered(tmp_path) == ["a"]


def test_a_fault_that_has_ended_affects_nothing(gateway: JournalGateway, file: Path, tmp_path: Path) -> None:
    InjectedGatewayFault(mode="refuse").begin(file)
    InjectedGatewayFault.end(file)
    InjectedGatewayFault.end(file)  # safe to repeat

    gateway.deliver(notification("a"))

    assert delivered(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "end",
    [InjectedGatewayFault.end, InjectedGatewayFault(mode="refuse").begin],
    ids=["no fault follows", "another fault follows at once"],
)
def test_a_hanging_delivery_fails_when_the_fault_ends(
    gateway: JournalGateway, file: Path, tmp_path: Path, end: Callable[[Path], None]
) -> None:
    InjectedGatewayFault(mode="hang").begin(file)
    errors: list[GatewayRefused] = []

    def deliver() -> None:
        try:
            gateway.deliver(notification("a"))
        except GatewayRefused as refused:
            errors.append(refused)

    thread = threading.Thread(target=deliver)
    thread.start()
    assert_eventually(lambda: InjectedGatewayFault.hit_count(file))
    assert thread.is_alive()
    end(file)
    thread.join(timeout=5)

    assert len(errors) == 1
    assert delivered(tmp_path) == []


def test_a_slow_delivery_takes_longer_and_arrives(gateway: JournalGateway, file: Path, tmp_path: Path) -> None:
    InjectedGatewayFault(mode="slow", seconds=0.2).begin(file)
    started = time.monotonic()

    gateway.deliver(notification("a"))

    assert time.monotonic() - started >= 0.2
    assert delivered(tmp_path) == ["a"]
