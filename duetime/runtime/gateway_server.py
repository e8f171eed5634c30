"""The gateway as a server, for workers in any language: one HTTP POST for each delivery.

``python -m duetime.runtime.gateway_server SOCKET`` listens on a free loopback port and on the Unix socket SOCKET, and
prints the port. docs/delivering.md describes the protocol. Beside SOCKET, WORKER.pid has the process id of each worker.
"""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Protocol

from duetime.clock import system_clock
from duetime.interface import Notification
from duetime.runtime.delivery_phases import PhaseRecorder, RecordedDelivery
from duetime.runtime.failpoints import FailpointError, Failpoints
from duetime.runtime.gateway import JournalGateway, WorkerGone
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE, AnswerLost, GatewayRefused
from duetime.runtime.sessions import kill_session
from duetime.settings import Settings

LARGEST_BODY = 1 << 20


class Gateways:
    """One gateway for each worker, because a delivery's line has the name of its worker.

    pids: the directory with the process id of each worker, for the failpoints that kill it.
    """

    def __init__(self, deliveries: Path, *, delivery_time: timedelta, pids: Path) -> None:
        self._deliveries = deliveries
        self._delivery_time = delivery_time
        self._pids = pids
        self._by_worker: dict[str, JournalGateway] = {}
        self._lock = threading.Lock()

    def deliver(self, body: dict[str, Any], *, worker_gone: Callable[[], bool]) -> RecordedDelivery | None:
        """Deliver what `body` describes. Returns the delivery whose phases are recorded, if they are.

        worker_gone: returns True if the connection of the request has ended.

        Raises:
            GatewayRefused: it is refused. AnswerLost: it was recorded, but the worker must not know.
            WorkerGone: the worker that asked has ended.
            KeyError: a field is missing. TypeError, ValueError: a field has a wrong type.
        """
        key, revision, worker = str(body["key"]), int(body["revision"]), str(body["worker"])
        notification = Notification.from_store(key, revision, "", "", system_clock(), {})
        attempt = int(body.get("attempt", 1))
        try:
            return self._of(worker).carry_out(notification, attempt=attempt, worker_gone=worker_gone)
        except FailpointError as error:
            if error.point == "before_deliver":
                raise GatewayRefused(str(error)) from error
            raise AnswerLost(str(error)) from error

    def _of(self, worker: str) -> JournalGateway:
        with self._lock:
            if worker not in self._by_worker:
                self._by_worker[worker] = JournalGateway(
                    self._deliveries,
                    worker=worker,
                    delivery_time=self._delivery_time,
                    fault_file=self._deliveries.with_name(GATEWAY_FAULT_FILE),
                    failpoints=Failpoints(kill=partial(self._kill, worker)),
                    phases=PhaseRecorder.of_run(self._deliveries, worker=worker),
                )
            return self._by_worker[worker]

    def _kill(self, worker: str) -> None:
        file = self._pids / f"{Path(worker).name}.pid"
        if not file.exists():
            raise GatewayRefused(f"no worker {worker!r} is known here; send the value of DUETIME_WORKER")
        kill_session(int(file.read_text()))
        raise WorkerGone


class Deliver(Protocol):
    def __call__(self, body: dict[str, Any], *, worker_gone: Callable[[], bool]) -> RecordedDelivery | None: ...


def handler(deliver: Deliver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """``POST /deliver``: 204 delivered, 503 not delivered, no answer if the answer is lost, 400 for a bad body."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            try:
                length = int(self.headers.get("Content-Length", 0))
                if length > LARGEST_BODY:
                    self.close_connection = True  # the body stays unread
                    self._answer("413 Content Too Large", "the body is larger than 1 MiB")
                    return
                delivery = deliver(json.loads(self.rfile.read(length)), worker_gone=self._worker_gone)
            except GatewayRefused as error:
                self._answer("503 Service Unavailable", str(error))
            except (AnswerLost, WorkerGone):
                self.close_connection = True
            except (KeyError, TypeError, ValueError) as error:
                wanted = 'send {"key": "…", "revision": 1, "worker": "worker-1", "attempt": 1}'
                self._answer("400 Bad Request", f"{type(error).__name__}: {error}; {wanted}")
            else:
                self._answer_delivered(delivery)

        def log_message(self, *_: object) -> None:
            """Print nothing: the deliveries are the log."""

        def _answer_delivered(self, delivery: RecordedDelivery | None) -> None:
            # Asked again, because a fault may have killed the worker since its line was written.
            gone = self._worker_gone()
            if gone:
                self.close_connection = True
            else:
                self._answer("204 No Content", "")
            if delivery:
                delivery.reach("dropped" if gone else "answered")

        def _worker_gone(self) -> bool:
            """Return True if the other end has closed the connection, as the kernel does for a process that ended."""
            try:
                return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                return True

        def _answer(self, status: str, text: str) -> None:
            # In one write, because each further packet costs a worker a round trip.
            body = text.encode()
            head = f"HTTP/1.1 {status}\r\n" + (
                f"Content-Length: {len(body)}\r\n" if not status.startswith("204") else ""
            )
            self.wfile.write(head.encode() + b"\r\n" + body)

    return Handler


class _WorkersMayDie(socketserver.BaseServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about a connection that ended with its worker."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _OverTcp(_WorkersMayDie, socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


class _OverUnixSocket(_WorkersMayDie, socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    settings = Settings.from_environment()
    pids = Path(sys.argv[1]).parent
    handle = handler(Gateways(settings.deliveries, delivery_time=settings.delivery_time, pids=pids).deliver)
    with _OverTcp(("127.0.0.1", 0), handle) as tcp, _OverUnixSocket(sys.argv[1], handle) as local:
        threading.Thread(target=local.serve_forever, daemon=True).start()
        print(tcp.server_address[1], flush=True)  # noqa: T201 - the harness reads it
        tcp.serve_forever()


if __name__ == "__main__":
    main()
