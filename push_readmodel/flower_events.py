"""Events that show each delivery in Flower as a task. No delivery depends on them."""

from __future__ import annotations

import logging
import threading
import time
from queue import SimpleQueue
from typing import Any, Literal

from celery import Celery
from celery.events import EventDispatcher

from duetime.interface import Notification
from duetime.runtime.gateway import Gateway

log = logging.getLogger(__name__)

TASK = "push_readmodel.deliver"
QUEUE_LIMIT = 1000
"""Events that wait for the broker. With more, a delivery is not shown."""
RECONNECT_S = 1.0

Failure = Literal["task-retried", "task-failed"]


def task_id(op: str) -> str:
    """Return the id under which Flower shows all attempts of a revision; no task of a design has such an id."""
    return f"push_readmodel:{op}"


class EventPump:
    """Sends events from its own thread, through any outage of the broker, because sending may block."""

    def __init__(self, app: Celery, *, hostname: str) -> None:
        self._app = app
        self._hostname = hostname
        self._events: SimpleQueue[tuple[str, dict[str, Any]] | None] = SimpleQueue()
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def stop(self) -> None:
        """End after the waiting events are sent, or at once if the broker is away.

        A worker that exits need not call it: the thread is a daemon.
        """
        self._stopping.set()
        self._events.put(None)

    def has_room(self) -> bool:
        return self._events.qsize() < QUEUE_LIMIT

    def put(self, event: str, **fields: Any) -> None:
        """Queue an event with the current time, and return at once."""
        self._events.put((event, {"timestamp": time.time(), **fields}))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._send_until_stopped()
            except Exception as error:  # noqa: BLE001 - no delivery depends on it
                log.warning("cannot send events to the broker, trying again in %.0f s: %s", RECONNECT_S, error)
                self._stopping.wait(RECONNECT_S)

    def _send_until_stopped(self) -> None:
        with self._app.connection_for_write() as connection:
            # Connect once here: the dispatcher would retry for ever, at longer and longer intervals.
            connection.connect()
            dispatcher = EventDispatcher(connection, hostname=self._hostname, app=self._app, buffer_while_offline=False)
            while item := self._events.get():
                event, fields = item
                dispatcher.send(event, **fields)


class FlowerGateway:
    """Delivers by `gateway`, and sends the events of a Celery task through `pump`.

    A delivery is shown from start to end or not at all: half of one would look like a task that hangs.
    failure: the event for a failed delivery: task-retried, or task-failed if the drain does not retry.
    """

    def __init__(self, gateway: Gateway, pump: EventPump, *, failure: Failure) -> None:
        self._gateway = gateway
        self._pump = pump
        self._failure = failure

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        if not self._pump.has_room():
            self._gateway.deliver(notification, attempt=attempt)
            return
        uuid = task_id(notification.op)
        self._pump.put(
            "task-received",
            uuid=uuid,
            name=TASK,
            args=repr((notification.op,)),
            kwargs="{}",
            retries=attempt - 1,
            eta=notification.due_at.isoformat(),
        )
        self._pump.put("task-started", uuid=uuid)
        began_s = time.monotonic()
        try:
            self._gateway.deliver(notification, attempt=attempt)
        except BaseException as error:
            self._pump.put(self._failure, uuid=uuid, exception=repr(error), traceback="")
            raise
        self._pump.put("task-succeeded", uuid=uuid, result="None", runtime=time.monotonic() - began_s)


def shown_in_flower(gateway: Gateway, worker: Any, *, failure: Failure) -> FlowerGateway:
    """Return `gateway` with its deliveries shown in Flower. `worker` is Celery's worker object."""
    pump = EventPump(worker.app, hostname=worker.hostname)
    pump.start()
    return FlowerGateway(gateway, pump, failure=failure)
