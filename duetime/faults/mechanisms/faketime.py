"""One server's wall clock, moved while it runs; its monotonic clock stays true, and so does everybody else's clock.

The server is started with libfaketime preloaded, which looks into a control file at every reading of the wall clock
(some 10 µs instead of 0.1). So a move is seen at the next reading, by every process of the server, and by no other.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from duetime.clock import instant
from duetime.errors import HarnessError

CONTROL = "FAKETIME_TIMESTAMP_FILE"
LIBRARY = "libfaketime.so.1"
PRECISE_S = 0.05
"""A measured offset further than this from the one asked for is wrong: the reading itself is good to a millisecond."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is, not a temporary file
READ_CLOCKS = """
import sys, time
for _ in sys.stdin:
    readings = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(20)]
    before, wall, after = min(readings, key=lambda reading: reading[2] - reading[0])
    print(wall, (before + after) // 2, flush=True)
"""
"""A program that reads both its clocks for each line it is given, and ends with its standard input."""


class SkewedClock:
    """The wall clock of the processes that are started with its ``environment``: true until ``set`` says otherwise."""

    def __init__(self, control: Path) -> None:
        """control: a file of this clock's own, in a directory that the processes may read."""
        self._control = control
        self.set(0.0)

    def environment(self) -> dict[str, str]:
        """What a process must be started with; its children inherit it.

        Raises:
            HarnessError: libfaketime is not installed.
        """
        preloaded = [str(library()), *os.environ.get("LD_PRELOAD", "").split()]
        return {
            "LD_PRELOAD": " ".join(preloaded),
            CONTROL: str(self._control),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Otherwise threads that wait for CPython's interpreter lock no longer wait, but spin.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }

    def set(self, offset_s: float) -> None:
        """From now on the clock is `offset_s` ahead of the true one (behind it if negative), to the microsecond."""
        if not math.isfinite(offset_s):
            raise HarnessError(f"a clock cannot be {offset_s} s off")
        # Replaced as a whole: half a number is also a number. No newline: libfaketime would edit it away in place.
        new = self._control.with_name(f"{self._control.name}.new")
        new.write_text(f"{offset_s:+.6f}", encoding="ascii")
        new.replace(self._control)

    def measure(self) -> float:
        """By how many seconds a process with this clock is ahead of the true time, found out by starting one."""
        with reader(self) as reading:
            return next(reading)


@contextmanager
def reader(clock: SkewedClock) -> Iterator[Iterator[float]]:
    """A running process with `clock`: each ``next`` is by how many seconds its wall clock is ahead at that moment.

    Raises:
        HarnessError: it cannot run, or its monotonic clock is not the one of this machine.
    """
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", READ_CLOCKS],
        env={**os.environ, **clock.environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield offsets(process)
        # The end of its input ends it, and an orderly end gives its shared memory back.
        process.communicate()


def offsets(process: subprocess.Popen[str]) -> Iterator[float]:
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 - pipes were asked for
    while True:
        before = instant()
        process.stdin.write("\n")
        process.stdin.flush()
        answer = process.stdout.readline().split()
        after = instant()
        if len(answer) != 2:
            _, said = process.communicate()
            raise HarnessError(f"a process with a clock of its own did not run: {said.strip() or answer}")
        wall_ns, mono_ns = map(int, answer)
        if not before.mono_ns <= mono_ns <= after.mono_ns:
            raise HarnessError("the monotonic clock was moved too")
        yield (wall_ns - after.wall_ns - (mono_ns - after.mono_ns)) / 1e9


def library_is_loaded(pid: int) -> bool:
    """Whether the live process `pid` really has the library: a variable in its environment alone moves no clock."""
    try:
        return LIBRARY in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False


def remove_shared_memory(pids: Collection[int]) -> None:
    """Remove what processes leave in shared memory if SIGKILL ends them, unless libfaketime was built without.

    Living processes lose nothing by it: they hold on to what they have mapped. The segment goes first: on a segment
    without its semaphore a later process with the same id would refuse to start.
    """
    for pid in pids:
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            (SHARED_MEMORY / name).unlink(missing_ok=True)


def library() -> Path:
    """The preloadable library inside the installed package, which need not be imported for it.

    Raises:
        HarnessError: there is none.
    """
    package = importlib.util.find_spec("libfaketime")
    if package is None or package.origin is None:
        raise HarnessError("libfaketime is missing: install duetime[clock]; it is compiled with a C compiler")
    path = Path(package.origin).parent / "vendor" / "libfaketime" / "src" / LIBRARY
    if not path.exists():
        raise HarnessError(f"libfaketime is installed without {path}: reinstall duetime[clock], with a C compiler")
    return path


@cache
def unavailable() -> str | None:
    """Why this machine cannot move one server's clock, found out by moving one; None if it can."""
    try:
        with tempfile.TemporaryDirectory(prefix="duetime-clock-") as directory:
            clock = SkewedClock(Path(directory) / "offset")
            with reader(clock) as reading:
                for asked_s in (0.0, -600.25, 7.5):
                    clock.set(asked_s)
                    measured_s = next(reading)
                    if abs(measured_s - asked_s) > PRECISE_S:
                        return f"libfaketime has no effect: a clock moved by {asked_s} s was {measured_s:.3f} s off"
    except (HarnessError, OSError) as error:
        return str(error)
    return None
