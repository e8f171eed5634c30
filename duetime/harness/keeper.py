"""Nothing is left behind, whatever happens to duetime.

Every process that duetime starts carries the workplace (a temporary directory) in its environment and works inside
it. A keeper, in a session of its own, holds the reading end of a pipe from duetime; when duetime is gone, even by
SIGKILL, the pipe closes, and the keeper ends every process of the workplace and removes the directory.
"""

from __future__ import annotations

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
QUIT_FIRST_S = 3.0
"""PostgreSQL gives its shared memory back on SIGQUIT, not on SIGKILL; so long it may take."""


@contextmanager
def workplace() -> Iterator[Path]:
    """A temporary directory that vanishes, with every process in it, when this block or this process ends."""
    # Short, because a Unix socket's path ends after 107 characters; open to traversal, for PostgreSQL's own user.
    path = Path(tempfile.mkdtemp(prefix="duetime-"))
    path.chmod(0o711)
    keeper = subprocess.Popen(
        [sys.executable, "-m", "duetime.harness.keeper", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
        start_new_session=True,
    )
    assert keeper.stdin is not None and keeper.stdout is not None  # noqa: S101 - PIPE was asked for two lines above
    try:
        if keeper.stdout.readline() != b"keeping\n":
            raise HarnessError("the keeper that cleans up after a run did not start")
        yield path
    finally:
        sweep(path)
        keeper.stdin.close()
        keeper.wait()
        keeper.stdout.close()


def belonging(path: Path) -> dict[str, str]:
    """The environment that makes a process one of the workplace at `path`, its temporary files included."""
    return {MARK: str(path), "TMPDIR": str(path)}


def members(path: Path) -> list[psutil.Process]:
    """Every live process that belongs to the workplace at `path`."""
    return [process for process in psutil.process_iter() if _belongs(process, str(path))]


def _belongs(process: psutil.Process, path: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # The environment alone would miss PostgreSQL, which overwrites its own; it stays in its data directory.
        cwd = process.cwd()
        return cwd == path or cwd.startswith(path + "/") or process.environ().get(MARK) == path
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def sweep(path: Path) -> None:
    """End every process of the workplace at `path`; PostgreSQL first gets the chance to give its memory back."""
    started = time.monotonic()
    while left := members(path):
        patient = time.monotonic() - started < QUIT_FIRST_S
        for process in left:
            with suppress(psutil.NoSuchProcess):
                is_postgres = patient and process.name() == "postgres"
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGQUIT if is_postgres else signal.SIGKILL)
        psutil.wait_procs(left, timeout=0.2)


def keep(path: Path) -> None:
    """Wait until nobody holds the other end of standard input, then leave nothing of `path`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.write(sys.stdout.fileno(), b"keeping\n")
    sys.stdin.buffer.read()
    sweep(path)
    shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
