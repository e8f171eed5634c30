"""Ends every process and removes every file of a command, however the command ends.

Each process that duetime starts carries the path of the command's temporary directory in its environment. A separate
process, the reaper, makes that directory and reads from a pipe that duetime holds open. When duetime ends, even by
SIGKILL, the pipe closes, and the reaper kills every process with that path and removes the directory.
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
from duetime.faults.mechanisms.memory_group import remove_all
from duetime.faults.mechanisms.small_disk import unmount_below
from duetime.harness.processes.environment import composed

MARK = "DUETIME_TEMPDIR"
"""The environment variable with the path of the temporary directory."""
IPC_RMID = 0
SERVERS = ("postgres", "valkey-server")
QUIT_FIRST_S = 3.0
"""For this long PostgreSQL gets SIGQUIT instead of SIGKILL, because on SIGQUIT it removes its shared memory."""
GIVE_UP_S = 20.0
"""A process that outlives SIGKILL for this long is stuck in the kernel."""
JUST_FORKED_S = 0.5
"""Longer than a process takes from its fork to its exec; only then does it carry the mark."""


@contextmanager
def run_tempdir() -> Iterator[Path]:
    """A temporary directory that is removed, with every process in it, when this block or this process ends."""
    command = [sys.executable, "-P", "-m", "duetime.harness.processes.cleanup"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=composed(), stdin=pipe, stdout=pipe, text=True, start_new_session=True
    ) as reaper:
        assert reaper.stdin is not None and reaper.stdout is not None  # noqa: S101 - pipes were asked for
        path = reaper.stdout.readline().strip()
        if not path:
            raise HarnessError("the process that cleans up after a run did not start")
        try:
            yield Path(path)
        finally:
            # Not left to the reaper, because threads of this process may wait for these processes to end.
            kill_owned(Path(path))


def owner_env(tempdir: Path) -> dict[str, str]:
    """The environment that marks a process, and its temporary files, as owned by `tempdir`."""
    return {MARK: str(tempdir), "TMPDIR": str(tempdir)}


def members(tempdir: Path) -> list[psutil.Process]:
    """Every live process owned by `tempdir`."""
    return [process for process in psutil.process_iter() if _is_owned(process, str(tempdir))]


def _is_owned(process: psutil.Process, tempdir: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # These servers overwrite their environment with their process titles, but stay in their data directories.
        is_server = process.name() in SERVERS and process.cwd().startswith(tempdir + "/")
        return is_server or process.environ().get(MARK) == tempdir
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def kill_owned(tempdir: Path) -> None:
    """Kill every process owned by `tempdir`; PostgreSQL gets SIGQUIT first, so that it removes its shared memory."""
    started = time.monotonic()
    while (left := members(tempdir)) and (elapsed_s := time.monotonic() - started) < GIVE_UP_S:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                quit_first = elapsed_s < QUIT_FIRST_S and process.name() == "postgres"
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGQUIT if quit_first else signal.SIGKILL)
        psutil.wait_procs(left, timeout=0.2)


def release_shared_memory(cluster: Path) -> None:
    """Remove the System V segment of a PostgreSQL that was killed; line 7 of its postmaster.pid has the id."""
    with suppress(OSError, ValueError, IndexError):
        segment = int((cluster / "postmaster.pid").read_text().splitlines()[6].split()[1])
        ctypes.CDLL(None).shmctl(segment, IPC_RMID, None)


def reap() -> None:
    """Make a temporary directory, print its path, and clean up when standard input closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A short prefix, because a Unix socket's path has at most 107 characters.
    tempdir = Path(tempfile.mkdtemp(prefix="duetime-"))
    try:
        # PostgreSQL's own user has to reach its data directory.
        tempdir.chmod(0o711)
        os.write(sys.stdout.fileno(), f"{tempdir}\n".encode())
        sys.stdin.buffer.read()
        kill_owned(tempdir)
        time.sleep(JUST_FORKED_S)
        kill_owned(tempdir)
        remove_all(tempdir.name)
        for cluster in tempdir.glob("*/pg"):
            release_shared_memory(cluster)
    finally:
        # Repeated, because a process killed a moment ago may have written while the directory was being removed.
        give_up_at = time.monotonic() + GIVE_UP_S
        while tempdir.exists() and time.monotonic() < give_up_at:
            with suppress(HarnessError, OSError):
                unmount_below(tempdir)
            shutil.rmtree(tempdir, ignore_errors=True)


if __name__ == "__main__":
    reap()
