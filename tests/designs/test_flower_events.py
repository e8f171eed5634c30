"""The drain's deliveries in Flower, which never slow the drain."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from celery import Celery
from celery.events import EventReceiver
from celery.events.state import State

from duetime.harness.processes.services import Endpoints
from duetime.interface import Notification
from push_readmodel.flower_events import QUEUE_LIMIT, TASK, EventPump, Failure, FlowerGateway, task_id
from tests.eventually import assert_eventually

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
WORKER = "worker-1@push_readmodel"


def note(key: str) -> Notification:
    return Notification(key=key, revision=1, kind="test", recipient="a@b.example", due_at=NOON)


class RecordingGateway:
    """A gateway that records deliveries, and may refuse all of them."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.attempts: list[tuple[str, int]] = []
        self._refuses = refuses

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.attempts.append((notification.op, attempt))
        if self._refuses:
            raise ConnectionError("mailbox unavailable")


class RecordingPump(EventPump):
    """A pump that keeps its events."""

    def __init__(self, *, room: bool = True) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._room = room

    def has_room(self) -> bool:
        return self._room

    def put(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))


def app_at(broker_url: str) -> Celery:
    return Celery("test", broker=broker_url, set_as_current=False)


def test_a_delivery_is_shown_as_a_task_from_received_to_succeeded() -> None:
    gateway, pump = RecordingGateway(), RecordingPump()

    FlowerGateway(gateway, pump, failure="task-retried").deliver(note("a"), attempt=3)

    assert gateway.attempts == [("a/1", 3)]
    assert [event for event, _ in pump.events] == ["task-received", "task-started", "task-succeeded"]
    assert {fields["uuid"] for _, fields in pump.events} == {task_id("a/1")}
    received = pump.events[0][1]
    assert (received["name"], received["args"], received["retries"]) == (TASK, "('a/1',)", 2)
    assert received["eta"] == NOON.isoformat()
    assert pump.events[2][1]["runtime"] >= 0


@pytest.mark.parametrize("failure", ["task-retried", "task-failed"])
def test_a_failed_delivery_is_shown_as_the_failure_of_its_drain_and_still_raises(failure: Failure) -> None:
    pump = RecordingPump()

    with pytest.raises(ConnectionError):
        FlowerGateway(RecordingGateway(refuses=True), pump, failure=failure).deliver(note("a"))

    assert [event for event, _ in pump.events] == ["task-received", "task-started", failure]
    assert "mailbox unavailable" in pump.events[2][1]["exception"]


def test_without_room_in_the_queue_a_delivery_is_made_and_not_shown() -> None:
    gateway, pump = RecordingGateway(), RecordingPump(room=False)

    FlowerGateway(gateway, pump, failure="task-retried").deliver(note("a"))

    assert gateway.attempts == [("a/1", 1)]
    assert pump.events == []


@pytest.fixture(params=["refuses connections", "does not answer"])
def url_of_absent_broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a broker that is away: its port is closed, or accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        if request.param == "refuses connections":
            listener.close()
        yield f"redis://127.0.0.1:{port}/0"


def test_an_absent_broker_does_not_slow_deliveries(url_of_absent_broker: str, request: pytest.FixtureRequest) -> None:
    gateway = RecordingGateway()
    pump = EventPump(app_at(url_of_absent_broker), hostname=WORKER)
    pump.start()
    request.addfinalizer(pump.stop)
    shown_in_flower = FlowerGateway(gateway, pump, failure="task-retried")
    notes = [note(f"k{number}") for number in range(5 * QUEUE_LIMIT)]

    began_s = time.monotonic()
    for notification in notes:
        shown_in_flower.deliver(notification)
    took_s = time.monotonic() - began_s

    assert gateway.attempts == [(notification.op, 1) for notification in notes]
    # A single attempt to reach the broker takes longer than this.
    assert took_s < 1
    assert not pump.has_room()


def test_celery_can_read_the_events_of_the_pump(endpoints: Endpoints) -> None:
    state: Any = State()  # celery-types does not know its attributes
    app = app_at(endpoints.broker_url)

    def receive() -> None:
        with app.connection() as connection:
            for _ in EventReceiver(connection, {"*": state.event}, app=app).itercapture(timeout=10):
                if any(task.state == "SUCCESS" for task in state.tasks.values()):
                    return

    thread = threading.Thread(target=receive)
    thread.start()
    with redis.Redis.from_url(endpoints.broker_url) as broker:
        assert_eventually(lambda: broker.pubsub_numpat() == 1, within_s=10)
    pump = EventPump(app, hostname=WORKER)
    pump.start()
    with pytest.raises(ConnectionError):
        FlowerGateway(RecordingGateway(refuses=True), pump, failure="task-retried").deliver(note("a"))
    FlowerGateway(RecordingGateway(), pump, failure="task-retried").deliver(note("b"))
    thread.join(timeout=10)
    pump.stop()

    tasks = {task.uuid: (task.name, task.state, task.worker.hostname) for task in state.tasks.values()}
    assert tasks == {
        task_id("a/1"): (TASK, "RETRY", WORKER),
        task_id("b/1"): (TASK, "SUCCESS", WORKER),
    }
