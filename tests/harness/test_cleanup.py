"""However duetime ends, a few seconds later there is nothing of it: no process, port, directory, shared memory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.runs

GONE_WITHIN_S = 10


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A place for duetime's temporary directories: short, as Unix sockets need it."""
    path = Path(tempfile.mkdtemp(prefix="dt"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


EVERY_END = pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])


def started_duetime(temporary: Path, tmp_path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "duetime.cli", "compare", "--scenarios", "downtime", "--out", str(tmp_path)]
    with (tmp_path / "progress").open("wb") as progress:
        # A session of its own, so that nothing reaches its children by way of the terminal's group.
        return subprocess.Popen(
            command,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=progress,
            stderr=progress,
            start_new_session=True,
            # Whoever runs the tests in the background of a shell has it ignored, and so would every child.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


@pytest.mark.parametrize(
    ("stage", "number", "status"),
    [
        # Nobody cleans up after SIGKILL but the keeper, so that is tried at every stage.
        *((stage, signal.SIGKILL, -signal.SIGKILL) for stage in ("template", "*/pg", "*/worker-1")),
        ("*/pg", signal.SIGTERM, 143),
        ("*/worker-1", signal.SIGINT, 130),
    ],
)
def test_nothing_is_left_after_an_end_while_starting(
    number: signal.Signals, status: int, stage: str, temporary: Path, tmp_path: Path
) -> None:
    duetime = started_duetime(temporary, tmp_path)
    wait_until(lambda: bool(list(temporary.glob(f"duetime-*/{stage}"))), within_s=60)
    shared_memory = held_by(belonging_to(temporary))

    duetime.send_signal(number)

    assert duetime.wait(timeout=GONE_WITHIN_S) == status, (tmp_path / "progress").read_text()
    wait_until(lambda: not belonging_to(temporary), within_s=GONE_WITHIN_S)
    wait_until(lambda: not list(temporary.iterdir()), within_s=GONE_WITHIN_S)
    assert not shared_memory & held_shared_memory()


@EVERY_END
def test_nothing_is_left_after(number: signal.Signals, status: int, temporary: Path, tmp_path: Path) -> None:
    duetime = started_duetime(temporary, tmp_path)
    wait_until(lambda: (tmp_path / "progress").read_text().count(": running") == 3, within_s=60)
    started = belonging_to(temporary)
    ports = listening(started)
    shared_memory = held_by(started)
    assert shared_memory
    assert {process.name() for process in started} >= {"postgres", "valkey-server"}
    assert len(started) > 10
    assert len(ports) == 3

    duetime.send_signal(number)

    assert duetime.wait(timeout=GONE_WITHIN_S) == status
    wait_until(lambda: not belonging_to(temporary), within_s=GONE_WITHIN_S)
    assert not [process for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    wait_until(lambda: not list(temporary.iterdir()), within_s=GONE_WITHIN_S)
    assert not ports & {
        connection.laddr.port for connection in psutil.net_connections() if connection.status == "LISTEN"
    }
    assert not shared_memory & held_shared_memory()


def belonging_to(temporary: Path) -> list[psutil.Process]:
    """Every process that works below `temporary` or was told of it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            told = str(temporary) in " ".join([*process.cmdline(), *process.environ().values()])
            at_work = process.cwd().startswith(str(temporary))
            if (told or at_work) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def listening(processes: list[psutil.Process]) -> set[int]:
    pids = {process.pid for process in processes}
    return {
        connection.laddr.port
        for connection in psutil.net_connections(kind="tcp")
        if connection.status == "LISTEN" and connection.pid in pids
    }


def held_by(processes: list[psutil.Process]) -> set[str]:
    """The segments that these have mapped: the machine may hold others of somebody else's."""
    found = set()
    for process in processes:
        with suppress(OSError):
            for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
                inode, *path = line.split(maxsplit=5)[4:]
                if path and path[0].startswith("/SYSV"):
                    found.add(inode)  # which is the segment's id
                elif path and path[0].startswith("/dev/shm/"):
                    found.add(Path(path[0]).name)
    return found


def held_shared_memory() -> set[str]:
    """POSIX segments by name, System V segments by id."""
    system_v = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {path.name for path in Path("/dev/shm").iterdir()} | {line.split()[1] for line in system_v}


def wait_until(condition: object, *, within_s: float) -> None:
    assert callable(condition)
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not so after {within_s} s"
        time.sleep(0.1)
