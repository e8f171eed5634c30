"""Shows the drain's deliveries in Flower, as the tasks that they would be in a queue.

For a dashboard only: nothing is delivered because of what stands here, and nothing waits for it.
"""

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
WAITING = 1000
"""Events that wait for the broker; a delivery that finds so many is not shown."""
RECONNECT_S = 1.0

Failure = Literal["task-retried", "task-failed"]


def task_id(op: str) -> str:
    """Under which id Flower shows a revision, however often it is tried; no design's own task has one like it."""
    return f"push_readmodel:{op}"


class EventPump:
    """Sends events from a thread of its own, through any outage of the broker: what publishes may stand still."""

    def __init__(self, app: Celery, *, hostname: str) -> None:
        self._app = app
        self._hostname = hostname
        self._events: SimpleQueue[tuple[str, dict[str, Any]] | None] = SimpleQueue()
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def stop(self) -> None:
        """End after what waits has been sent, or at once if the broker is away. A worker need not: it ends with it."""
        self._stopping.set()
        self._events.put(None)

    def has_room(self) -> bool:
        return self._events.qsize() < WAITING

    def put(self, event: str, **fields: Any) -> None:
        """Take one more event, stamped with the present, and return at once."""
        self._events.put((event, {"timestamp": time.time(), **fields}))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._send_until_stopped()
            except Exception as error:  # noqa: BLE001 - whatever it is, it concerns a picture only
                log.warning("no events reach the broker, trying again in %.0f s: %s", RECONNECT_S, error)
                self._stopping.wait(RECONNECT_S)

    def _send_until_stopped(self) -> None:
        with self._app.connection_for_write() as connection:
            # Once: left to itself, the dispatcher would try for ever, at longer and longer intervals.
            connection.connect()
            dispatcher = EventDispatcher(connection, hostname=self._hostname, app=self._app, buffer_while_offline=False)
            while next_one := self._events.get():
                event, fields = next_one
                dispatcher.send(event, **fields)


class FlowerGateway:
    """Hands each notification to `gateway`, and tells `pump` what a worker would have told of a task.

    A delivery is shown from its beginning to its end or not at all: half of one would look like one that hangs.
    failure: what it amounts to if `gateway` raises, which depends on the drain.
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
        except Exception as error:
            self._pump.put(self._failure, uuid=uuid, exception=repr(error), traceback="")
            raise
        self._pump.put("task-succeeded", uuid=uuid, result="None", runtime=time.monotonic() - began_s)


def shown_in_flower(gateway: Gateway, worker: Any, *, failure: Failure) -> FlowerGateway:
    """`gateway`, with whatever `worker`, Celery's own object, delivers by it shown in Flower."""
    pump = EventPump(worker.app, hostname=worker.hostname)
    pump.start()
    return FlowerGateway(gateway, pump, failure=failure)
