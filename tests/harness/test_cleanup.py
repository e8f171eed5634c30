"""Seconds after duetime ends, however it ends, no process, port, directory or shared memory of it is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.eventually import assert_eventually
from tests.short_plan import written_to

pytestmark = pytest.mark.runs

GONE_WITHIN_S = 10


@pytest.fixture
def temporary() -> Iterator[Path]:
    """The parent of duetime's temporary directories. Its path is short, because Unix sockets need that."""
    path = Path(tempfile.mkdtemp(prefix="dt"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


EACH_END = pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])


def started_duetime(temporary: Path, tmp_path: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "duetime.cli", "compare", "--out", str(tmp_path)]
    with (tmp_path / "progress").open("wb") as progress:
        # A session of its own, so that the terminal sends no signal to its children.
        return subprocess.Popen(
            [*command, *(options or ("--scenarios", "downtime"))],
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=progress,
            stderr=progress,
            start_new_session=True,
            # A shell ignores SIGINT for background jobs, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


@pytest.mark.parametrize(
    ("stage", "number", "status"),
    [
        # After SIGKILL only the reaper cleans up, so it is tested at every stage.
        *((stage, signal.SIGKILL, -signal.SIGKILL) for stage in ("template", "*/pg", "*/worker-1")),
        ("*/pg", signal.SIGTERM, 143),
        ("*/worker-1", signal.SIGINT, 130),
    ],
)
def test_nothing_is_left_after_an_end_while_starting(
    number: signal.Signals, status: int, stage: str, temporary: Path, tmp_path: Path
) -> None:
    duetime = started_duetime(temporary, tmp_path)
    assert_eventually(lambda: list(temporary.glob(f"duetime-*/{stage}")), within_s=60)
    shared_memory = shared_memory_of(processes_of(temporary))

    duetime.send_signal(number)

    assert duetime.wait(timeout=GONE_WITHIN_S) == status, (tmp_path / "progress").read_text()
    assert_eventually(lambda: not processes_of(temporary), within_s=GONE_WITHIN_S)
    assert_eventually(lambda: not list(temporary.iterdir()), within_s=GONE_WITHIN_S)
    assert_eventually(lambda: not shared_memory & all_shared_memory(), within_s=GONE_WITHIN_S)


@EACH_END
def test_nothing_is_left_after(number: signal.Signals, status: int, temporary: Path, tmp_path: Path) -> None:
    duetime = started_duetime(temporary, tmp_path)
    assert_eventually(lambda: (tmp_path / "progress").read_text().count(": running") == 3, within_s=60)
    started = processes_of(temporary)
    ports = ports_of(started)
    shared_memory = shared_memory_of(started)
    assert shared_memory
    assert {process.name() for process in started} >= {"postgres", "valkey-server"}
    assert len(started) > 10
    assert len(ports) == 3

    duetime.send_signal(number)

    assert duetime.wait(timeout=GONE_WITHIN_S) == status
    assert_eventually(lambda: not processes_of(temporary), within_s=GONE_WITHIN_S)
    # Each is waited for: what was killed is still there until the kernel has ended it.
    assert_eventually(lambda: not list(filter(still_runs, started)), within_s=GONE_WITHIN_S)
    assert_eventually(lambda: not list(temporary.iterdir()), within_s=GONE_WITHIN_S)
    assert_eventually(lambda: not ports & listened_to(), within_s=GONE_WITHIN_S)
    assert_eventually(lambda: not shared_memory & all_shared_memory(), within_s=GONE_WITHIN_S)


@pytest.mark.parametrize("stage", ["*/pg", "*/worker-1"])
def test_nothing_is_left_of_two_batches_of_which_the_second_is_starting(
    stage: str, temporary: Path, tmp_path: Path
) -> None:
    plans = [str(written_to(tmp_path / f"{name}.json")) for name in ("first", "second")]
    duetime = started_duetime(temporary, tmp_path, "--designs", "push_readmodel", "--scenarios", ",".join(plans))
    assert_eventually(lambda: list(temporary.glob(f"duetime-*/second-{stage}")), within_s=60)
    assert "first / push_readmodel: closing" not in (tmp_path / "progress").read_text()
    shared_memory = shared_memory_of(processes_of(temporary))

    duetime.send_signal(signal.SIGINT)

    assert duetime.wait(timeout=GONE_WITHIN_S) == 130, (tmp_path / "progress").read_text()
    assert_eventually(lambda: not processes_of(temporary), within_s=GONE_WITHIN_S)
    assert_eventually(lambda: not list(temporary.iterdir()), within_s=GONE_WITHIN_S)
    assert_eventually(lambda: not shared_memory & all_shared_memory(), within_s=GONE_WITHIN_S)


def processes_of(temporary: Path) -> list[psutil.Process]:
    """Every process with `temporary` in its arguments, environment or working directory."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            named = str(temporary) in " ".join([*process.cmdline(), *process.environ().values()])
            inside = process.cwd().startswith(str(temporary))
            if (named or inside) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def still_runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def listened_to() -> set[int]:
    """Every port of this machine that somebody listens to."""
    return {
        connection.laddr.port
        for connection in psutil.net_connections()
        if connection.status == "LISTEN" and connection.laddr
    }


def ports_of(processes: list[psutil.Process]) -> set[int]:
    pids = {process.pid for process in processes}
    return {
        connection.laddr.port
        for connection in psutil.net_connections(kind="tcp")
        if connection.status == "LISTEN" and connection.laddr and connection.pid in pids
    }


def shared_memory_of(processes: list[psutil.Process]) -> set[str]:
    """The segments that these processes have mapped. Other programs of this machine may hold further ones."""
    found = set()
    for process in processes:
        with suppress(OSError):
            for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
                inode, *path = line.split(maxsplit=5)[4:]
                if path and path[0].startswith("/SYSV"):
                    found.add(inode)  # the segment's id
                elif path and path[0].startswith("/dev/shm/"):
                    found.add(Path(path[0]).name)
    return found


def all_shared_memory() -> set[str]:
    """POSIX segments by name, System V segments by id."""
    system_v = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {path.name for path in Path("/dev/shm").iterdir()} | {line.split()[1] for line in system_v}
