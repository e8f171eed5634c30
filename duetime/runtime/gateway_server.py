"""The gateway as a server, for workers in any language: one HTTP POST for each delivery.

``python -m duetime.runtime.gateway_server SOCKET`` listens on a free loopback port and on the Unix socket SOCKET, and
prints the port. docs/delivering.md describes the protocol.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from duetime.clock import system_clock
from duetime.interface import Notification
from duetime.runtime.gateway import JournalGateway
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE, AnswerLost, GatewayRefused
from duetime.settings import Settings

LARGEST_BODY = 1 << 20


class Gateways:
    """One gateway for each worker, because a delivery's line has the name of its worker."""

    def __init__(self, deliveries: Path, *, delivery_time: timedelta) -> None:
        self._deliveries = deliveries
        self._delivery_time = delivery_time
        self._by_worker: dict[str, JournalGateway] = {}
        self._lock = threading.Lock()

    def deliver(self, body: dict[str, Any]) -> None:
        """Deliver what `body` describes.

        Raises:
            GatewayRefused: a fault refuses it. AnswerLost: it was recorded, but the worker must not know.
            KeyError: a field is missing. TypeError, ValueError: a field has a wrong type.
        """
        key, revision, worker = str(body["key"]), int(body["revision"]), str(body["worker"])
        notification = Notification.from_store(key, revision, "", "", system_clock(), {})
        self._of(worker).deliver(notification, attempt=int(body.get("attempt", 1)))

    def _of(self, worker: str) -> JournalGateway:
        with self._lock:
            if worker not in self._by_worker:
                self._by_worker[worker] = JournalGateway(
                    self._deliveries,
                    worker=worker,
                    delivery_time=self._delivery_time,
                    fault_file=self._deliveries.with_name(GATEWAY_FAULT_FILE),
                )
            return self._by_worker[worker]


def handler(deliver: Callable[[dict[str, Any]], None]) -> type[BaseHTTPRequestHandler]:
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
                deliver(json.loads(self.rfile.read(length)))
            except GatewayRefused as error:
                self._answer("503 Service Unavailable", str(error))
            except AnswerLost:
                self.close_connection = True
            except (KeyError, TypeError, ValueError) as error:
                wanted = 'send {"key": "…", "revision": 1, "worker": "worker-1", "attempt": 1}'
                self._answer("400 Bad Request", f"{type(error).__name__}: {error}; {wanted}")
            else:
                self._answer("204 No Content", "")

        def log_message(self, *_: object) -> None:
            """Print nothing: the deliveries are the log."""

        def _answer(self, status: str, text: str) -> None:
            # In one write, because each further packet costs a worker a round trip.
            body = text.encode()
            head = f"HTTP/1.1 {status}\r\n" + (
                f"Content-Length: {len(body)}\r\n" if not status.startswith("204") else ""
            )
            self.wfile.write(head.encode() + b"\r\n" + body)

    return Handler


class _OverTcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


class _OverUnixSocket(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    settings = Settings.from_environment()
    handle = handler(Gateways(settings.deliveries, delivery_time=settings.delivery_time).deliver)
    with _OverTcp(("127.0.0.1", 0), handle) as tcp, _OverUnixSocket(sys.argv[1], handle) as local:
        threading.Thread(target=local.serve_forever, daemon=True).start()
        print(tcp.server_address[1], flush=True)  # noqa: T201 - the harness reads it
        tcp.serve_forever()


if __name__ == "__main__":
    main()
