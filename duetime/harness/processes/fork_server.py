"""Clients as forks of one process that has imported what they need: an import takes half a second of a processor.

The command that starts the server sends it a request for each client over a Unix socket, with the client's standard
streams and the writing end of a pipe. The client writes its exit status to that pipe, which closes when it has ended.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from duetime.errors import HarnessError
from duetime.harness.processes.cleanup import owner_env
from duetime.harness.processes.environment import composed_for_design

LONGEST_REQUEST = 1 << 17
"""Bytes. The environment of a process is a part of it."""
IMPORTED = (
    "duetime.harness.processes.client_main",
    "sqlalchemy.dialects.postgresql.psycopg",
    "celery.app.task",
    "redis",
)
"""What the clients of most designs import. A design itself is not here, because it reads the environment."""


class ForkedProcess:
    """A child of the fork server, with the part of `subprocess.Popen` that its user needs."""

    def __init__(self, pid: int, stdin: int, stdout: int, status: int) -> None:
        self.pid = pid
        self.stdin, self.stdout = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb")
        self.returncode: int | None = None
        self._status = status
        # Of a process that says nothing before its pipe closes.
        self._found = -signal.SIGKILL
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit status, or -SIGKILL if a signal ended the process; None while it runs."""
        with self._lock:
            while self.returncode is None and select.select([self._status], [], [], 0)[0]:
                self._read()
            return self.returncode

    def wait(self) -> int:
        with self._lock:
            while self.returncode is None:
                self._read()
            return self.returncode

    def _read(self) -> None:
        if status := os.read(self._status, 1):
            self._found = status[0]
        else:
            self.returncode = self._found
            os.close(self._status)


class ForkServer:
    """The server's handle, for use by several threads. connection: to the server."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def start(self, *, directory: Path, environment: Mapping[str, str], errors: int) -> ForkedProcess:
        """Start a client. directory: its working directory. errors: the file descriptor of its standard error.

        Raises:
            HarnessError: the server has ended.
        """
        request = json.dumps({"directory": str(directory), "environment": dict(environment)}).encode()
        with ExitStack() as theirs, ExitStack() as ours:
            (stdin, to), (from_, stdout), (status, ended) = (os.pipe() for _ in range(3))
            for descriptor in (stdin, stdout, ended):
                theirs.callback(os.close, descriptor)
            for descriptor in (to, from_, status):
                ours.callback(os.close, descriptor)
            try:
                with self._lock:
                    socket.send_fds(self._connection, [request], [stdin, stdout, errors, ended])
                    answer = self._connection.recv(LONGEST_REQUEST)
            except OSError as error:
                raise HarnessError(f"the process that starts clients does not answer: {error}") from error
            if not answer:
                raise HarnessError("the process that starts clients has ended")
            ours.pop_all()
            return ForkedProcess(int(answer), to, from_, status)


@contextmanager
def fork_server(tempdir: Path) -> Iterator[ForkServer]:
    """Run a fork server, marked as owned by `tempdir`, during this block. It imports while the caller goes on."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "duetime.harness.processes.fork_server", str(theirs.fileno())],
            cwd=tempdir,
            # The environment of its clients, because Python reads some of it only at its start.
            env={**composed_for_design(), **owner_env(tempdir)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        try:
            yield ForkServer(ours)
        finally:
            ours.close()
            process.kill()
            process.wait()


def serve(connection: socket.socket) -> int | None:
    """Answer requests until the connection closes; in a client, return the descriptor for its exit status."""
    # The kernel removes a client that has ended; its pipe says how.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, LONGEST_REQUEST, 4)
        if not request:
            return None
        if pid := os.fork():
            # Before the answer, because its receiver may kill the group at once.
            os.setpgid(pid, pid)
            connection.send(str(pid).encode())
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        connection.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        *streams, ended = descriptors
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        wanted = json.loads(request)
        os.chdir(wanted["directory"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        time.tzset()
        return ended


def main() -> None:
    # The clients need these sooner or later; what is not installed, no design of this installation needs.
    for module in IMPORTED:
        with suppress(ImportError):
            importlib.import_module(module)
    ended = serve(socket.socket(fileno=int(sys.argv[1])))
    if ended is None:
        return
    from duetime.harness.processes import client_main

    status = 1
    try:
        client_main.main()
        status = 0
    finally:
        os.write(ended, bytes([status]))


if __name__ == "__main__":
    main()
