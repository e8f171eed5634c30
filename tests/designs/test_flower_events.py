"""What Flower is told of the drain's deliveries, and that telling it costs the drain nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
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
from push_readmodel.flower_events import TASK, WAITING, EventPump, FlowerGateway, task_id

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
WORKER = "worker-1@push_readmodel"


def note(key: str) -> Notification:
    return Notification(key=key, revision=1, kind="test", recipient="a@b.example", due_at=NOON)


class Box:
    """A gateway that keeps what it is given, and can refuse it."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.given: list[tuple[str, int]] = []
        self._refuses = refuses

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self.given.append((notification.op, attempt))
        if self._refuses:
            raise ConnectionError("mailbox unavailable")


class Told(EventPump):
    """A pump that keeps what it would send."""

    def __init__(self, *, room: bool = True) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._room = room

    def has_room(self) -> bool:
        return self._room

    def put(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))


def app_at(port_or_url: int | str) -> Celery:
    url = port_or_url if isinstance(port_or_url, str) else f"redis://127.0.0.1:{port_or_url}/0"
    return Celery("test", broker=url, set_as_current=False)


def test_a_delivery_is_told_as_a_task_from_its_receipt_to_its_success() -> None:
    box, told = Box(), Told()

    FlowerGateway(box, told, failure="task-retried").deliver(note("a"), attempt=3)

    assert box.given == [("a/1", 3)]
    assert [event for event, _ in told.events] == ["task-received", "task-started", "task-succeeded"]
    assert {fields["uuid"] for _, fields in told.events} == {task_id("a/1")}
    received = told.events[0][1]
    assert (received["name"], received["args"], received["retries"]) == (TASK, "('a/1',)", 2)
    assert received["eta"] == NOON.isoformat()
    assert told.events[2][1]["runtime"] >= 0


@pytest.mark.parametrize("failure", ["task-retried", "task-failed"])
def test_a_delivery_that_raises_is_told_as_what_its_drain_makes_of_it_and_still_raises(failure: Any) -> None:
    told = Told()

    with pytest.raises(ConnectionError):
        FlowerGateway(Box(refuses=True), told, failure=failure).deliver(note("a"))

    assert [event for event, _ in told.events] == ["task-received", "task-started", failure]
    assert "mailbox unavailable" in told.events[2][1]["exception"]


def test_without_room_a_delivery_is_made_and_nothing_of_it_is_told() -> None:
    box, told = Box(), Told(room=False)

    FlowerGateway(box, told, failure="task-retried").deliver(note("a"))

    assert box.given == [("a/1", 1)]
    assert told.events == []


@pytest.fixture(params=["refuses", "is silent"])
def port_of_a_broker_that(request: pytest.FixtureRequest) -> Iterator[int]:
    """Where a broker is away: nobody listens there, or whoever listens takes connections and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        if request.param == "refuses":
            listener.close()
        yield port


def test_a_broker_that_is_away_costs_the_drain_nothing(
    port_of_a_broker_that: int, request: pytest.FixtureRequest
) -> None:
    box, plain = Box(), Box()
    pump = EventPump(app_at(port_of_a_broker_that), hostname=WORKER)
    pump.start()
    request.addfinalizer(pump.stop)
    shown_in_flower = FlowerGateway(box, pump, failure="task-retried")
    notes = [note(f"k{number}") for number in range(5 * WAITING)]

    began_s = time.monotonic()
    for each in notes:
        shown_in_flower.deliver(each)
    took_s = time.monotonic() - began_s

    for each in notes:
        plain.deliver(each)
    assert box.given == plain.given
    # A single attempt at the broker takes longer, and there would have been thousands.
    assert took_s < 1
    assert not pump.has_room()


def test_flower_can_follow_what_the_pump_sends(endpoints: Endpoints) -> None:
    state = State()
    app = app_at(endpoints.broker_url)

    def receive() -> None:
        with app.connection() as connection:
            for _ in EventReceiver(connection, {"*": state.event}, app=app).itercapture(timeout=10):
                if any(task.state == "SUCCESS" for task in state.tasks.values()):
                    return

    thread = threading.Thread(target=receive)
    thread.start()
    with redis.Redis.from_url(endpoints.broker_url) as broker:
        wait_until(lambda: broker.pubsub_numpat() == 1)
    pump = EventPump(app, hostname=WORKER)
    pump.start()
    with pytest.raises(ConnectionError):
        FlowerGateway(Box(refuses=True), pump, failure="task-retried").deliver(note("a"))
    FlowerGateway(Box(), pump, failure="task-retried").deliver(note("b"))
    thread.join(timeout=10)
    pump.stop()

    seen = {task.uuid: (task.name, task.state, task.worker.hostname) for task in state.tasks.values()}
    assert seen == {
        task_id("a/1"): (TASK, "RETRY", WORKER),
        task_id("b/1"): (TASK, "SUCCESS", WORKER),
    }


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
