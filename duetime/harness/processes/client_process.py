"""The handle of a client process."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from duetime import registry
from duetime.clock import Instant
from duetime.contenders import Contender
from duetime.errors import HarnessError
from duetime.faults.fault import Sleeper
from duetime.harness.plan.plan import PlannedOperation
from duetime.harness.processes.cleanup import owner_env
from duetime.harness.processes.environment import composed_for_design
from duetime.harness.processes.fork_server import ForkedProcess, ForkServer
from duetime.runtime.failpoints import VARIABLE
from duetime.settings import Settings

START_S = 60.0
AFTER_LAST_OPERATION_S = 40.0
"""A thousand notifications are scheduled in seconds; on a fully loaded machine, in a few tens of seconds.

A plan of minutes may in addition take as long again as its last operation is after the start.
"""
Process = subprocess.Popen[bytes] | ForkedProcess
SUCCESSOR = 100
"""Added to a client's number for its successor, because a history numbers the lines of each client."""


class ClientProcess:
    """One client. A successor can replace it after a kill.

    standby: start the successor now. It imports the design and waits, because some libraries take seconds to import,
    and a second fault would have to wait for them.

    history: the file for its calls. faults, old_heartbeats: the fault records and the heartbeat files of the old
    design's workers, both for a migration. directory: its working directory. log: its standard error.
    contender: in whose environment the client runs. fork_server: what starts it, if its Python and its path are ours.
    pooled: True if the database is behind a pooler.
    """

    def __init__(
        self,
        number: int,
        operations: Sequence[PlannedOperation],
        *,
        settings: Settings,
        history: Path,
        faults: Path,
        old_heartbeats: Sequence[Path],
        directory: Path,
        log: Path,
        tempdir: Path,
        contender: Contender | None = None,
        fork_server: ForkServer | None = None,
        standby: bool = False,
        pooled: bool = False,
    ) -> None:
        self.name = f"client-{number}"
        self.failpoints = log.with_suffix(".failpoint").absolute()
        self._number = number
        self._operations = list(operations)
        self._history = history.absolute()
        self._faults = faults.absolute()
        # Not the caller's: Python and Celery import modules from the working directory.
        self._directory = directory
        self._directory.mkdir(parents=True)
        self._old_heartbeats = old_heartbeats
        self._pooled = pooled
        self._log = log
        search_path = registry.search_path(settings.design)
        self._fork_server = None if contender or search_path else fork_server
        self._environment = {
            **composed_for_design(search_path=search_path),
            **settings.environment(),
            **owner_env(tempdir),
            VARIABLE: str(self.failpoints),
            **(contender.environment(settings.database_url, settings.broker_url) if contender else {}),
        }
        self._python = contender.python if contender else sys.executable
        self._last_s = max((operation.at_s for operation in operations), default=0.0)
        self._started: Instant | None = None
        self._more_to_come = False
        self._process = self._start(number)
        self._hand_over(self._operations, interrupted=[])
        self._standby = self._start(number + SUCCESSOR) if standby else None

    def wait_ready(self, stop: Sleeper) -> None:
        """Wait until the client has loaded its design and opened its connection.

        Raises:
            HarnessError: it ended instead or was not ready in time.
        """
        self._wait_for(b"ready", self._process, stop)
        if self._standby:
            self._wait_for(b"loaded", self._standby, stop)
        if self._started is not None:
            self.begin(self._started, more_to_come=self._more_to_come)

    def begin(self, started: Instant, *, more_to_come: bool = False) -> None:
        """Begin the planned operations.

        more_to_come: `carry_out` will be called; otherwise the client ends after its planned operations.
        """
        self._started = started
        self._more_to_come = more_to_come
        self._send(started._asdict())
        if not more_to_come:
            self._close_input()

    def carry_out(self, operation: PlannedOperation) -> None:
        """Let the client carry out one more operation, after all earlier ones.

        Raises:
            BrokenPipeError: the client has ended.
        """
        self._send(operation.to_json())

    def exit_status(self) -> int | None:
        """The exit status; None while the client runs."""
        return self._process.poll()

    def start_successor(self) -> None:
        """Let a successor resolve the open calls and carry out the operations that are not due yet."""
        assert self._started is not None  # noqa: S101 - a client is killed only after it began
        elapsed_s = (time.monotonic_ns() - self._started.mono_ns) / 1e9
        remaining = [operation for operation in self._operations if operation.at_s > elapsed_s]
        _end(self._process)
        interrupted = open_calls(self._history, client=self._number)
        self._number += SUCCESSOR
        self._process, self._standby = self._standby or self._start(self._number), None
        self._hand_over(remaining, interrupted=interrupted)

    def wait_done(self, started: Instant, stop: Sleeper) -> None:
        """Wait until the client has carried out its last operation.

        Raises:
            HarnessError: it failed or is far behind its plan.
        """
        limit_s = self._last_s + AFTER_LAST_OPERATION_S
        give_up_ns = started.mono_ns + int((self._last_s + limit_s) * 1e9)
        while self._process.poll() is None:
            if time.monotonic_ns() > give_up_ns:
                raise HarnessError(f"a client was not done {limit_s:.0f} s after its last operation was due")
            stop.sleep(0.05)
        if self._process.returncode != 0:
            raise HarnessError(f"a client failed:\n{self._log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        for process in (self._process, self._standby):
            if process is not None:
                _end(process)

    def _wait_for(self, word: bytes, process: Process, stop: Sleeper) -> None:
        """Wait until `process` prints the line `word`; skip the lines before it.

        Raises:
            HarnessError: it ended instead or did not print it in time.
        """
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        give_up_at = time.monotonic() + START_S
        printed = b""
        while word not in printed.splitlines():
            while not select.select([process.stdout], [], [], 0)[0]:
                if time.monotonic() > give_up_at:
                    raise HarnessError(f"a client was not {word.decode()} after {START_S:.0f} s")
                stop.sleep(0.02)
            # Not readline(), which may take a second line out of the pipe, where select() does not find it.
            if not (chunk := os.read(process.stdout.fileno(), 4096)):
                raise HarnessError(f"a client did not start:\n{self._log.read_text(errors='replace')[-2000:]}")
            printed += chunk

    def _start(self, number: int) -> Process:
        with self._log.open("ab") as errors:
            process = self._forked(errors.fileno()) or subprocess.Popen(
                [self._python, "-m", "duetime.harness.processes.client_main"],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        instructions = {
            "client": number,
            "history": str(self._history),
            "faults": str(self._faults),
            "old_heartbeats": [str(file) for file in self._old_heartbeats],
            "pooled": self._pooled,
        }
        _write(process, instructions)
        return process

    def _forked(self, errors: int) -> Process | None:
        if not self._fork_server:
            return None
        return self._fork_server.start(directory=self._directory, environment=self._environment, errors=errors)

    def _hand_over(
        self, operations: Sequence[PlannedOperation], *, interrupted: Sequence[Mapping[str, object]]
    ) -> None:
        """Give the process its operations, and the calls of its predecessor that have no answer."""
        planned = [operation.to_json() for operation in operations]
        self._send({"operations": planned, "interrupted": list(interrupted)})

    def _send(self, message: object) -> None:
        _write(self._process, message)

    def _close_input(self) -> None:
        assert self._process.stdin is not None  # noqa: S101 - PIPE was asked for
        self._process.stdin.close()


def open_calls(history: Path, *, client: int) -> list[Mapping[str, object]]:
    """The calls of `client` without an answer."""
    calls: dict[str, Mapping[str, object]] = {}
    for line in history.read_bytes().splitlines():
        record = json.loads(line)
        if record["client"] == client:
            if record["type"] == "invoke":
                calls[record["op"]] = record
            else:
                calls.pop(record["op"], None)
    return list(calls.values())


def _end(process: Process) -> None:
    """Kill the client and the processes that it started: what a dead client began, no other process may finish."""
    # Not after an orderly end, because the number of its process group may by then be that of another one.
    if process.poll() in (None, -signal.SIGKILL):
        with suppress(ProcessLookupError):  # none is left
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _write(process: Process, message: object) -> None:
    assert process.stdin is not None  # noqa: S101 - PIPE was asked for
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
