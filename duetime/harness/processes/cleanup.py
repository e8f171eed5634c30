"""Nothing is left behind, whatever happens to duetime.

Every process that duetime starts carries the workplace (a temporary directory) in its environment. A keeper, in a
session of its own, makes that directory and holds the reading end of a pipe from duetime; when duetime is gone, even
by SIGKILL, the pipe closes, and the keeper ends every process of the workplace and removes the directory.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from duetime.errors import HarnessError

MARK = "DUETIME_WORKPLACE"
IPC_RMID = 0
SERVERS = ("postgres", "valkey-server")
QUIT_FIRST_S = 3.0
"""PostgreSQL gives its shared memory back on SIGQUIT, not on SIGKILL; so long it may take."""
GIVE_UP_S = 20.0
"""A process that SIGKILL does not end within this is stuck in the kernel."""
JUST_FORKED_S = 0.5
"""How long a process may take from its fork, when it does not carry the mark yet, to its exec."""


@contextmanager
def run_tempdir() -> Iterator[Path]:
    """A temporary directory that vanishes, with every process in it, when this block or this process ends."""
    command = [sys.executable, "-m", "duetime.harness.processes.cleanup"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as keeper:
        assert keeper.stdin is not None and keeper.stdout is not None  # noqa: S101 - pipes were asked for
        path = keeper.stdout.readline().strip()
        if not path:
            raise HarnessError("the keeper that cleans up after a run did not start")
        try:
            yield Path(path)
        finally:
            # Here and not only in the keeper, so that whoever waits for one of these processes goes on.
            kill_owned(Path(path))


def owner_env(path: Path) -> dict[str, str]:
    """The environment that makes a process one of the workplace at `path`, its temporary files included."""
    return {MARK: str(path), "TMPDIR": str(path)}


def members(path: Path) -> list[psutil.Process]:
    """Every live process that belongs to the workplace at `path`."""
    return [process for process in psutil.process_iter() if _belongs(process, str(path))]


def _belongs(process: psutil.Process, path: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # The servers write their titles over their environment; but they stay in their data directories.
        is_server = process.name() in SERVERS and process.cwd().startswith(path + "/")
        return is_server or process.environ().get(MARK) == path
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def kill_owned(path: Path) -> None:
    """End every process of the workplace at `path`; PostgreSQL first gets the chance to give its memory back."""
    started = time.monotonic()
    while (left := members(path)) and (spent := time.monotonic() - started) < GIVE_UP_S:
        patient = spent < QUIT_FIRST_S
        for process in left:
            with suppress(psutil.NoSuchProcess):
                is_postgres = patient and process.name() == "postgres"
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGQUIT if is_postgres else signal.SIGKILL)
        psutil.wait_procs(left, timeout=0.2)


def release_shared_memory(cluster: Path) -> None:
    """Remove the System V segment of a PostgreSQL that was killed; it is named in line 7 of its postmaster.pid."""
    with suppress(OSError, ValueError, IndexError):
        segment = int((cluster / "postmaster.pid").read_text().splitlines()[6].split()[1])
        ctypes.CDLL(None).shmctl(segment, IPC_RMID, None)


def keep() -> None:
    """Make a workplace, say where, wait until nobody holds the other end of standard input, leave nothing of it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Short, because a Unix socket's path ends after 107 characters; open to traversal, for PostgreSQL's own user.
    path = Path(tempfile.mkdtemp(prefix="duetime-"))
    try:
        path.chmod(0o711)
        os.write(sys.stdout.fileno(), f"{path}\n".encode())
        sys.stdin.buffer.read()
        kill_owned(path)
        time.sleep(JUST_FORKED_S)
        kill_owned(path)
        for cluster in path.glob("*/pg"):
            release_shared_memory(cluster)
    finally:
        # Again if need be: what was killed a moment ago may have written while the directory was being removed.
        give_up_at = time.monotonic() + GIVE_UP_S
        while path.exists() and time.monotonic() < give_up_at:
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    keep()
