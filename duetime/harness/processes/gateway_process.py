"""The process of the gateway for workers that deliver over HTTP. No fault of a run ends it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from duetime.errors import HarnessError
from duetime.harness.processes.cleanup import owner_env
from duetime.harness.processes.environment import composed
from duetime.runtime.failpoints import VARIABLE
from duetime.settings import Settings


class GatewayProcess:
    """A running gateway server. environment: the variables by which workers find it.

    failpoints: the file in which ``before_deliver`` and ``after_deliver`` are armed for its workers.
    """

    def __init__(self, unix_socket: Path, settings: Settings, *, tempdir: Path) -> None:
        """unix_socket: in the directory that has the workers' directories, where it finds their process ids."""
        unix_socket.parent.mkdir(parents=True, exist_ok=True)
        self.failpoints = unix_socket.with_name("gateway.failpoint")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "duetime.runtime.gateway_server", str(unix_socket)],
            env={**composed(), **settings.environment(), **owner_env(tempdir), VARIABLE: str(self.failpoints)},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - PIPE was asked for
        port = self._process.stdout.readline().decode().strip()
        if not port:
            raise HarnessError("the gateway did not start")
        self.environment = {
            "DUETIME_GATEWAY_URL": f"http://127.0.0.1:{port}/deliver",
            "DUETIME_GATEWAY_SOCKET": str(unix_socket),
        }

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None  # noqa: S101 - PIPE was asked for
        self._process.stdout.close()
