"""A wall clock of one worker that can be set wrong while the worker runs; its monotonic clock stays correct.

The worker is started with libfaketime preloaded, which reads a control file at every reading of the wall clock (about
10 µs instead of 0.1). All processes of the worker see a new offset at their next reading, and no other process does.
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
"""Largest accepted difference of a measured offset; the measurement is precise to a millisecond."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is, not a temporary file
READ_CLOCKS = """
import sys, time
for _ in sys.stdin:
    readings = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(20)]
    before, wall, after = min(readings, key=lambda reading: reading[2] - reading[0])
    print(wall, (before + after) // 2, flush=True)
"""
"""A program that prints its wall and monotonic clock for each line of standard input."""


class SkewedClock:
    """The wall clock of the processes that are started with its ``environment``; correct until ``set`` is called."""

    def __init__(self, control: Path) -> None:
        """control: a file for this clock alone, in a directory that the processes may read."""
        self._control = control
        self.set(0.0)

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which to start a process; its children inherit them.

        Raises:
            HarnessError: libfaketime is not installed.
        """
        preloaded = [str(library()), *os.environ.get("LD_PRELOAD", "").split()]
        return {
            "LD_PRELOAD": " ".join(preloaded),
            CONTROL: str(self._control),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Otherwise threads that wait for CPython's interpreter lock spin.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }

    def set(self, offset_s: float) -> None:
        """Set the clock ahead by `offset_s` (behind if negative), to the microsecond."""
        if not math.isfinite(offset_s):
            raise HarnessError(f"a clock cannot be {offset_s} s off; use a finite number")
        # Replaced atomically, because half a number is also a number. Without a newline, which libfaketime would remove
        # in place.
        draft = self._control.with_name(f"{self._control.name}.new")
        draft.write_text(f"{offset_s:+.6f}", encoding="ascii")
        draft.replace(self._control)

    def measure(self) -> float:
        """Start a process with this clock, and return by how many seconds its wall clock is ahead."""
        with measuring(self) as reading:
            return next(reading)


@contextmanager
def measuring(clock: SkewedClock) -> Iterator[Iterator[float]]:
    """Start a process with `clock`; each ``next`` measures by how many seconds its wall clock is ahead.

    Raises:
        HarnessError: the process did not run, or its monotonic clock differs from this machine's.
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
        # It ends at the end of its input, and then frees its shared memory.
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
            _, errors = process.communicate()
            raise HarnessError(f"a process with libfaketime did not run: {errors.strip() or answer}")
        wall_ns, mono_ns = map(int, answer)
        if not before.mono_ns <= mono_ns <= after.mono_ns:
            raise HarnessError("libfaketime changed the monotonic clock too")
        yield (wall_ns - after.wall_ns - (mono_ns - after.mono_ns)) / 1e9


def library_is_loaded(pid: int) -> bool:
    """Return True if the running process `pid` has loaded the library, without which its environment has no effect."""
    try:
        return LIBRARY in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False


def remove_shared_memory(pids: Collection[int]) -> None:
    """Remove the shared memory of libfaketime that processes leave behind after SIGKILL, if there is any.

    Running processes keep what they have mapped. The segment is removed first: a later process with the same id would
    not start if it found a segment without its semaphore.
    """
    for pid in pids:
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            (SHARED_MEMORY / name).unlink(missing_ok=True)


def library() -> Path:
    """Return the path of the library in the installed package, without importing the package.

    Raises:
        HarnessError: the package or the library is missing.
    """
    package = importlib.util.find_spec("libfaketime")
    if package is None or package.origin is None:
        raise HarnessError("libfaketime is missing: install duetime[clock], which needs a C compiler")
    path = Path(package.origin).parent / "vendor" / "libfaketime" / "src" / LIBRARY
    if not path.exists():
        raise HarnessError(f"libfaketime is installed without {path}: reinstall duetime[clock], with a C compiler")
    return path


@cache
def unavailable() -> str | None:
    """Return why this machine cannot set one worker's clock wrong, after trying it; None if it can."""
    try:
        with tempfile.TemporaryDirectory(prefix="duetime-clock-") as directory:
            clock = SkewedClock(Path(directory) / "offset")
            with measuring(clock) as reading:
                for offset_s in (0.0, -600.25, 7.5):
                    clock.set(offset_s)
                    measured_s = next(reading)
                    if abs(measured_s - offset_s) > PRECISE_S:
                        return f"libfaketime has no effect: a clock set to {offset_s} s was {measured_s:.3f} s off"
    except (HarnessError, OSError) as error:
        return str(error)
    return None
