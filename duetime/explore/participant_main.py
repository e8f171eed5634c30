"""The participants: processes that a warm process forks, one for each participant of an interleaving.

Each connects to the controller's socket, waits to be told what to do, and reports. A delivery asks over the same
socket, and waits for the answer. Run as a process, this module is the warm process.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from duetime import registry
from duetime.errors import ScheduleRejected, StillBeingDelivered
from duetime.explore.drain_once import drains_of
from duetime.explore.migrate_once import migrate_once
from duetime.interface import Notification
from duetime.runtime.effects import Effects
from duetime.settings import Settings

SECOND = timedelta(seconds=1)


class DeliveryFailed(Exception):
    """The gateway refuses this delivery, because the scope says so."""


class Controller:
    """The participant's end of the controller's socket."""

    def __init__(self, path: str, name: str) -> None:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        self._file = connection.makefile("rw", encoding="utf-8")
        self.send(what="here", participant=name, pid=os.getpid())

    def send(self, **message: object) -> None:
        self._file.write(json.dumps(message) + "\n")
        self._file.flush()

    def ask(self, **message: object) -> Mapping[str, Any]:
        self.send(**message)
        return dict(json.loads(self._file.readline()))


class NoGateway:
    """Of the warm process, whose table is empty."""

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        raise DeliveryFailed(f"{notification.op}, attempt {attempt}: nothing was due")


class SteppedGateway:
    """Delivers when the controller says so."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        answer = self._controller.ask(what="deliver", op=notification.op, attempt=attempt)
        if answer["error"]:
            raise DeliveryFailed("the recipient's mailbox is full")


def notification(call: Mapping[str, Any]) -> Notification:
    """Return what the call of a scope is about."""
    return Notification(
        key=call["key"], revision=call["revision"], kind=call.get("kind", "explored"), recipient="a@b.example",
        due_at=datetime.fromisoformat(call["due_at"]),
    )  # fmt: skip


def settings_of(design: str, url: str, name: str, socket_path: str) -> Settings:
    return Settings.from_environment(
        {
            "DUETIME_DESIGN": design, "DUETIME_DATABASE_URL": url, "DUETIME_BROKER_URL": "redis://127.0.0.1:1/0",
            "DUETIME_WORKER": name, "DUETIME_DELIVERIES": f"{socket_path}.deliveries",
        }
    )  # fmt: skip


class Warm:
    """What the warm process has made ready for all participants: everything is imported, and the dialect is known.

    url: of the database itself. The participants connect to their own ports.
    """

    def __init__(self, design: str, url: str) -> None:
        self.design, self.drains = registry.load(design), drains_of(design)
        self.engine = create_engine(url, poolclass=NullPool)
        self._port = 0
        event.listen(self.engine, "do_connect", self._to_own_port)
        self.settings = settings_of(design, url, "warm", "/nonexistent")
        self.scheduler = self.design.scheduler(self.settings)
        for drain in self.drains:
            drain.work(self.engine, NoGateway(), Effects({}, worker="warm"))
        example = notification({"key": "warm", "revision": 1, "due_at": "2000-01-01T00:00:00+00:00"})
        with Session(self.engine) as session:
            self.scheduler.schedule_many([example], session=session)
            self.scheduler.cancel("warm", revision=2, session=session)
            session.rollback()

    def _to_own_port(self, _dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
        if self._port:
            parameters |= {"host": "127.0.0.1", "port": self._port}

    def participate(self, task: Mapping[str, Any]) -> None:
        """Carry out a participant's task. Its clock is frozen, so that schedules repeat."""
        now_s = time.monotonic()
        time.monotonic = lambda: now_s
        self._port = task["port"]
        self.engine.url = self.engine.url.set(host="127.0.0.1", port=self._port)  # for a library that connects itself
        controller = Controller(task["socket"], task["participant"])
        error = ""
        try:
            if task["do"] == "call":
                self._call(task, controller)
            elif task["do"] == "migrate":
                migrate_once(self.design, self.settings, self.engine)
            else:
                self._work(task, controller)
        except Exception as raised:  # noqa: BLE001 - the controller decides what it means
            error = f"{type(raised).__name__}: {next(iter(str(raised).splitlines()), '')}"
        controller.send(what="ended", error=error)

    def _work(self, task: Mapping[str, Any], controller: Controller) -> None:
        """Deliver as a worker: in a migration as one of the old design, and at the end as one of each."""
        gateway, effects = SteppedGateway(controller), Effects(task["effects"], worker=task["participant"])
        if task["do"] == "recover":
            for drain in self.drains:
                drain.recover(self.engine, gateway, effects)
        else:
            self.drains[0].work(self.engine, gateway, effects)

    def _call(self, task: Mapping[str, Any], controller: Controller) -> None:
        """Carry out the calls of an application, each transaction after the one before."""
        for calls in task["transactions"]:
            ops = [f"{each['key']}/{each['revision']}" for each in calls]
            controller.send(what="invoke", ops=ops)
            answer = "info"
            try:
                with Session(self.engine) as session:
                    if calls[0]["verb"] == "cancel":
                        for each in calls:
                            self.scheduler.cancel(each["key"], revision=each["revision"], session=session)
                    else:
                        self.scheduler.schedule_many(list(map(notification, calls)), session=session)
                    session.commit()
                answer = "ok"
            except (ScheduleRejected, StillBeingDelivered):
                answer = "fail"
            finally:
                controller.send(what="answer", ops=ops, answer=answer)


def serve(warm: Warm) -> None:
    """Fork a participant for each line of standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        task = json.loads(line)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            status = 1
            with suppress(BaseException):
                warm.participate(task)
                status = 0
            os._exit(status)


if __name__ == "__main__":
    warm = Warm(*sys.argv[1:])
    gc.freeze()  # or each participant would copy the pages of what it collects
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    serve(warm)
