"""A worker of a contender with a gateway that a test can block."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime import contenders
from duetime.clock import system_clock
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.interface import Design, Notification, Role
from duetime.runtime.gateway_server import handler
from duetime.settings import Settings

READY_S = 60.0


class HttpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Print nothing: a killed worker does not read its answer."""


@dataclass
class BlockedGateway:
    """Records the attempt of each request as it arrives, and answers when it is released."""

    released: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, int]] = field(default_factory=list)
    url: str = ""

    def deliver(self, body: dict[str, Any], *, worker_gone: Callable[[], bool]) -> None:
        self.requests.append((f"{body['key']}/{body['revision']}", body["attempt"]))
        assert self.released.wait(READY_S)


@contextmanager
def blocked_gateway() -> Iterator[BlockedGateway]:
    gateway = BlockedGateway()
    with HttpServer(("127.0.0.1", 0), handler(gateway.deliver)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        gateway.url = f"http://127.0.0.1:{server.server_address[1]}/deliver"
        yield gateway
        gateway.released.set()
        server.shutdown()


@contextmanager
def worker_of(
    design: Design, role: Role, settings: Settings, gateway: BlockedGateway, *, directory: Path, tempdir: Path
) -> Iterator[WorkerProcess]:
    """A worker of `design` that is ready; killed at the end of the block."""
    worker = WorkerProcess(
        name="worker-1",
        role=role,
        settings=settings,
        state=directory / "state",
        log=directory / "worker.log",
        tempdir=tempdir,
        environment={"DUETIME_GATEWAY_URL": gateway.url},
        contender=design.contender,
    )
    worker.start()
    try:
        worker.wait_ready(CancelToken())
        yield worker
    finally:
        worker.end()


def restart_after_kill(worker: WorkerProcess) -> None:
    """Kill `worker`, start it again, and wait until it is ready."""
    worker.end()
    worker.start()
    worker.wait_ready(CancelToken())


def skip_unless_installed(name: str) -> None:
    """Skip the test with the command that installs the contender."""
    if reason := contenders.missing(name):
        pytest.skip(f"{name}: {reason}")


def due_in(seconds: float, key: str = "a", **fields: Any) -> Notification:
    due_at = system_clock() + timedelta(seconds=seconds)
    return Notification(key=key, revision=1, kind="test", recipient="a@b.example", due_at=due_at, **fields)


def schedule(design: Design, settings: Settings, engine: Engine, *notifications: Notification) -> None:
    """Schedule through a scheduler that needs nothing but the database."""
    with Session(engine) as session:
        for notification in notifications:
            design.scheduler(settings).schedule(notification, session=session)
        session.commit()
