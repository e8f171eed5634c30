"""Workers: one process group for each replica of a design's roles."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil

from duetime import registry
from duetime.contenders import Contender, filled, places_of
from duetime.errors import HarnessError
from duetime.faults.fault import Sleeper
from duetime.faults.mechanisms.faketime import CONTROL, remove_shared_memory
from duetime.faults.mechanisms.memory_group import MemoryGroup
from duetime.harness.processes.cleanup import owner_env
from duetime.harness.processes.environment import composed_for_design
from duetime.interface import Role
from duetime.runtime.sessions import kill_session
from duetime.settings import Settings

State = Literal["serving", "starting", "paused", "down"]

START_S = 60.0
"""A worker is ready in 2 to 5 s on two cores; many at once take longer."""
GONE_S = 5.0
STATE = "DUETIME_STATE"
"""The environment variable that identifies a worker's processes, also after they left its process group."""


class WorkerProcess:
    """One replica: its processes, its log, and a state directory that outlives restarts."""

    def __init__(
        self,
        *,
        name: str,
        role: Role,
        settings: Settings,
        state: Path,
        log: Path,
        tempdir: Path,
        environment: Mapping[str, str] | None = None,
        contender: Contender | None = None,
        enter: Sequence[str] = (),
        memory: MemoryGroup | None = None,
    ) -> None:
        """environment: added to what every worker gets. contender: whose worker this is, if it is one's.

        enter: the beginning of its command, which makes it run on a host of its own. memory: what limits its memory, if
        anything may.
        """
        self.name = name
        places = {
            "worker": name,
            "state": str(state),
            **(contender.places(settings) if contender else places_of(settings)),
            **settings.services,
        }
        argv = [*enter, *(filled(part, places) for part in role.argv)]
        self._argv = memory.launching(argv) if memory else argv
        self._ready = filled(role.ready, places)
        self._stop_signal = signal.Signals[role.stop_signal]
        self._orderly_exits = role.orderly_exits
        self.disorderly_exits: list[str] = []
        """Ends after `terminate` with a status that the role does not call orderly."""
        self._environment = {
            **composed_for_design(search_path=registry.search_path(settings.design)),
            **settings.environment(),
            **owner_env(tempdir),
            STATE: str(state),
            "PYTHONUNBUFFERED": "1",
            # A Celery worker warns at every start as root; here that is intended.
            "PYTHONWARNINGS": "ignore:You're running the worker",
            **(contender.environment(settings.database_url, settings.broker_url) if contender else {}),
            **(environment or {}),
            **{variable: filled(value, places) for variable, value in role.environment.items()},
        }
        self._state = state
        self._log = log
        self._log_offset = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._paused = False
        self.started_ns = 0
        """When it was last started."""
        self._ready_line_found: str | None = None
        self._pids_with_faketime: set[int] = set()
        # The threads of the nemesis and of the supervisor must not kill and restart at the same time.
        self._lifecycle_lock = threading.RLock()
        state.mkdir(parents=True)

    def start(self) -> None:
        """Begin to start."""
        with self._lifecycle_lock, self._log.open("ab") as output:
            self._log_offset = output.tell()
            self._ready_line_found, self._paused = None, False
            self._process = subprocess.Popen(
                self._argv,
                cwd=self._state,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A process group of its own, so that a signal to the group hits this worker and nothing else.
                start_new_session=True,
            )
            self._wanted = True
            self.started_ns = time.monotonic_ns()
            # For the gateway, whose failpoints end a worker that delivers over HTTP.
            self._state.with_name(f"{self.name}.pid").write_text(str(self._process.pid))

    @property
    def pid(self) -> int:
        """The main process."""
        return self._main().pid

    @property
    def wanted(self) -> bool:
        """True if the worker should be up: started, and neither killed nor shut down since."""
        return self._wanted

    @property
    def state(self) -> State:
        """The state of the worker; "serving" is decided by its log."""
        if not self.alive():
            return "starting" if self._wanted else "down"
        if self._paused:
            return "paused"
        return "serving" if self.serving() else "starting"

    def serving(self) -> bool:
        """Return True if the worker runs and has logged the ready line of its role since its last start."""
        return self.alive() and self._ready_line() is not None

    def silent(self) -> bool:
        """Return True if the worker runs and has logged nothing since its last start."""
        return self.alive() and self._log.stat().st_size == self._log_offset

    def logged(self, *texts: str) -> str | None:
        """Return the first line of the log that contains one of `texts`, in whatever case."""
        lines = self._log.read_text(errors="replace").splitlines()
        return next((line.strip() for line in lines if any(text in line.lower() for text in texts)), None)

    def wait_ready(self, stop: Sleeper) -> str:
        """Wait for the ready line since the last start; return the evidence.

        Raises:
            HarnessError: the worker ended instead or was not ready in time.
        """
        give_up_at = time.monotonic() + START_S
        while not (line := self._ready_line()):
            if self._main().poll() is not None:
                raise HarnessError(f"{self.name} ended with {self._main().returncode} while starting:{self._tail()}")
            if time.monotonic() > give_up_at:
                raise HarnessError(f"{self.name} did not log {self._ready!r} within {START_S:.0f} s:{self._tail()}")
            stop.sleep(0.05)
        if CONTROL in self._environment:
            self._pids_with_faketime.update(self.pids())
        return f"pid {self._main().pid} logged: {line}"

    def pids(self) -> list[int]:
        """The live processes of this worker: its main process and all descendants, in whatever process group."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.environ().get(STATE) == str(self._state) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return sorted(found)

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL to the process group, then to the rest of its session; `gone` kills processes that left that too."""
        # Nothing before the signal, because a worker that has its answer acknowledges within a millisecond.
        with self._lifecycle_lock:
            self._wanted = False
            if self._process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                kill_session(self._process.pid)

    def gone(self) -> str | None:
        """The evidence that every process of this worker has ended; None while one runs."""
        if self._process is None:
            return "it was never started"
        if self._main().poll() is None:
            return None
        if left := self.pids():
            # Not if the worker should be up: then a kill that had no effect must stay visible.
            if not self._wanted:
                _send(signal.SIGKILL, left)
            return None
        if CONTROL in self._environment:
            remove_shared_memory(self._pids_with_faketime)
        main = self._main()
        return f"main process {main.pid} reaped with status {main.returncode}, every process of this worker gone"

    def end(self) -> str:
        """Kill the worker and wait until every process has ended; return the evidence.

        Raises:
            HarnessError: a process still runs.
        """
        self.kill()
        give_up_at = time.monotonic() + GONE_S
        while not (evidence := self.gone()):
            if time.monotonic() > give_up_at:
                raise HarnessError(f"SIGKILL of {self.name} left {self.pids()}")
            time.sleep(0.005)
        return evidence

    def main_ended(self) -> bool:
        return self._main().poll() is not None

    def pause(self) -> None:
        """SIGSTOP to the process group, then to the processes that left it; children do not stop with their parent."""
        self._paused = True
        with suppress(ProcessLookupError):
            os.killpg(self._main().pid, signal.SIGSTOP)
        _send(signal.SIGSTOP, self.pids())

    def resume(self) -> None:
        _send(signal.SIGCONT, self.pids())
        self._paused = False

    def states(self) -> Sequence[str]:
        """The state of each process of this worker according to /proc: T is stopped, R anything else."""
        found = []
        for pid in self.pids():
            with suppress(psutil.NoSuchProcess):
                found.append("T" if psutil.Process(pid).status() == psutil.STATUS_STOPPED else "R")
        return found

    def restart_if_crashed(self) -> int | None:
        """Restart the worker if it crashed, leftover processes killed first. Returns the exit status of the crash."""
        with self._lifecycle_lock:
            if not self._wanted or self._process is None or self._process.poll() is None:
                return None
            status = self._process.returncode
            _send(signal.SIGKILL, self.pids())
            self.start()
        return status

    def terminate(self) -> None:
        """Begin a warm shutdown: a signal to the main process only; in the group it would end pool processes."""
        with self._lifecycle_lock:
            self._wanted = False
            if self.alive():
                self._main().send_signal(self._stop_signal)

    @property
    def stop_signal(self) -> str:
        return self._stop_signal.name

    def exit_evidence(self) -> str:
        """Return how the main process ended after `terminate`, and keep it if the status is not an orderly one."""
        status = self._main().returncode
        how = f"ended on {self.stop_signal} with status {status}"
        if status not in self._orderly_exits:
            how += f", and its role's orderly_exits are {', '.join(map(str, self._orderly_exits))}"
            self.disorderly_exits.append(f"{self.name} {how}")
        return how

    def wait_stopped(self, *, until: float) -> bool:
        """Wait until the monotonic time `until` for the end of a warm shutdown, then kill what is left.

        Returns True if every process had ended by itself, and the main one with an exit status of an orderly end.
        """
        if self._process is None:
            return True
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=max(0.0, until - time.monotonic()))
        orderly = self._process.poll() in self._orderly_exits and not self.pids()
        self.end()
        return orderly

    def _main(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise HarnessError(f"{self.name} was never started")
        return self._process

    def _ready_line(self) -> str | None:
        # Kept once found, because logs grow and this is called often.
        if self._ready_line_found is None:
            lines = self._log_since_start().splitlines()
            self._ready_line_found = next((line.strip() for line in lines if self._ready in line), None)
        return self._ready_line_found

    def _log_since_start(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")

    def _tail(self) -> str:
        return "\n" + "\n".join(self._log_since_start().splitlines()[-15:])


def _send(number: signal.Signals, pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def stop_all(workers: list[WorkerProcess], *, within_s: float) -> list[str]:
    """Warm shutdown of all `workers` at once; those that have not ended after `within_s` are killed.

    Returns the names of those that did not end in an orderly way. A worker that was down already is not one.
    """
    running = [worker for worker in workers if worker.alive()]
    for worker in workers:
        worker.terminate()
    until = time.monotonic() + within_s
    orderly = {worker.name: worker.wait_stopped(until=until) for worker in workers}
    return [worker.name for worker in running if not orderly[worker.name]]
