"""Servers: one operating system process group for each replica of a design's roles."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

from duetime.errors import HarnessError
from duetime.faults.kill import Waiting
from duetime.harness.keeper import belonging
from duetime.interface import Role
from duetime.settings import Settings

START_S = 60.0
"""A worker is ready in 2 to 5 s on two cores; many at once take longer."""
GONE_S = 5.0
STATE = "DUETIME_STATE"
"""Tells a server's processes from all others, also when they have left its process group."""


class Server:
    """One replica: its processes, its log, and a directory of its own that outlives restarts."""

    def __init__(self, *, name: str, role: Role, settings: Settings, state: Path, log: Path, place: Path) -> None:
        self.name = name
        self._argv = [part.replace("{server}", name).replace("{state}", str(state)) for part in role.argv]
        self._ready = role.ready.replace("{server}", name)
        self._environment = {
            **os.environ,
            **settings.environment(),
            **belonging(place),
            STATE: str(state),
            "PYTHONUNBUFFERED": "1",
            # Said at every start of a Celery worker by root; here root is on purpose.
            "PYTHONWARNINGS": "ignore:You're running the worker",
        }
        self._state = state
        self._log = log
        self._log_offset = 0
        self._process: subprocess.Popen[bytes] | None = None
        state.mkdir(parents=True)

    def start(self) -> None:
        """Begin to start; ``wait_ready`` says when it serves."""
        with self._log.open("ab") as output:
            self._log_offset = output.tell()
            self._process = subprocess.Popen(
                self._argv,
                cwd=self._state,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own: what is killed is the server, all of it, and nothing else.
                start_new_session=True,
            )

    def wait_ready(self, stop: Waiting) -> str:
        """Wait until this start's log says so; return the evidence.

        Raises:
            HarnessError: it ended instead, or did not get there in time.
        """
        give_up_at = time.monotonic() + START_S
        while not (line := self._ready_line()):
            if self._main().poll() is not None:
                raise HarnessError(f"{self.name} ended with {self._main().returncode} while starting:{self._tail()}")
            if time.monotonic() > give_up_at:
                raise HarnessError(f"{self.name} was not ready after {START_S:.0f} s:{self._tail()}")
            stop.sleep(0.05)
        return f"pid {self._main().pid} logged: {line}"

    def pids(self) -> list[int]:
        """The live processes of this server: its main process and whatever that started, wherever it went since."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.environ().get(STATE) == str(self._state) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return sorted(found)

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> str:
        """SIGKILL the whole process group at once, and then who left it; return the evidence that all are gone.

        Raises:
            HarnessError: it is still there.
        """
        group = self._main().pid
        # Before anything else: who kills in the middle of a delivery has a few milliseconds.
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        status = self._main().wait()
        give_up_at = time.monotonic() + GONE_S
        while left := self.pids():
            if time.monotonic() > give_up_at:
                raise HarnessError(f"SIGKILL of {self.name} left {left}")
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        return f"main process {group} reaped with status {status}, every process of this server gone"

    def terminate(self) -> None:
        """Ask for a warm shutdown. To the main process only: in the group it would end running children too."""
        if self.alive():
            self._main().send_signal(signal.SIGTERM)

    def wait_stopped(self, *, until: float) -> None:
        """Wait for the end of a warm shutdown until the monotonic time `until`, then kill what is left."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=max(0.0, until - time.monotonic()))
        self.kill()

    def _main(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise HarnessError(f"{self.name} was never started")
        return self._process

    def _ready_line(self) -> str | None:
        for line in self._log_since_start().splitlines():
            if self._ready in line:
                return line.strip()
        return None

    def _log_since_start(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")

    def _tail(self) -> str:
        return "\n" + "\n".join(self._log_since_start().splitlines()[-15:])


def stop_all(servers: list[Server], *, within_s: float) -> None:
    """Warm shutdown of all at once, and a kill for whoever is not done `within_s` seconds later."""
    for server in servers:
        server.terminate()
    until = time.monotonic() + within_s
    for server in servers:
        server.wait_stopped(until=until)
