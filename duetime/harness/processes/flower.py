"""Flower, the dashboard over Celery's workers, as a process of its own."""

from __future__ import annotations

import signal
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from duetime.harness.processes.embedded_servers import EmbeddedServer, free_port
from duetime.harness.processes.environment import composed

LOOPBACK = "127.0.0.1"
COLUMNS = "name,uuid,state,eta,args,retries,received,started,runtime,worker"
"""The columns of Flower's list of tasks. The due time, `eta`, is not among its defaults."""


class Flower:
    """A Flower over the broker at `broker_url`, on a free port of loopback; use as a context manager.

    Every user of this machine may read it, its API included; it cannot stop a worker or revoke a task. It has
    no persistence: events from before its start, or while the broker was down, are not shown.

    directory: for its state; made here. tempdir: whose end is also Flower's.
    """

    def __init__(self, directory: Path, *, tempdir: Path, broker_url: str) -> None:
        directory.mkdir(parents=True)
        self._port = free_port()
        self._server = EmbeddedServer(
            "dashboard",
            [
                *(sys.executable, "-m", "celery", "flower", f"--address={LOOPBACK}", f"--port={self._port}"),
                *("--persistent=False", "--read_only=True", f"--tasks_columns={COLUMNS}"),
            ],
            directory,
            tempdir=tempdir,
            probe=lambda _pid: self._answers(),
            end_with=signal.SIGTERM,
            environment={
                **composed(),
                # Not an argument: every user of this machine can read arguments, and the URL may have a password.
                "CELERY_BROKER_URL": broker_url,
                "FLOWER_UNAUTHENTICATED_API": "true",
            },
        )

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    def start(self) -> None:
        """Begin to start."""
        self._server.start()

    def wait_ready(self) -> None:
        """Wait until Flower answers.

        Raises:
            HarnessError: it ended instead or was not ready in time.
        """
        self._server.wait_ready()

    def stop(self) -> None:
        self._server.stop()

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        connection = HTTPConnection(LOOPBACK, self._port, timeout=2)
        try:
            connection.request("GET", "/healthcheck")
            # If another process has taken the port since, this Flower has ended.
            return connection.getresponse().status == 200 and not self._server.ended()
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
