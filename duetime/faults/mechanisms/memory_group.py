"""A memory limit for the processes of one worker: a control group of the kernel, which kills one of them beyond it.

It lies in the group of this process or in one above it, so that every limit of those still holds. Version 1 has a tree
for memory alone, version 2 one for everything: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

from duetime.errors import HarnessError

GROUPS = Path("/sys/fs/cgroup")
REMOVED_WITHIN_S = 5.0
"""A group can be removed a moment after its last process has ended."""
HOG = """
import sys
hold = bytearray(int(sys.argv[1]))
for page in range(0, len(hold), 4096):
    hold[page] = 1
sys.stdin.read()
"""
"""Takes memory and keeps it until its standard input closes."""
TRIED = 16 << 20


class MemoryGroup:
    """A control group with a limit that can be set while processes run in it. name: unique on this machine.

    Raises:
        HarnessError: this machine does not allow it.
    """

    def __init__(self, name: str) -> None:
        self._v2, parent = _parent()
        self.path = parent / name
        self._hog: subprocess.Popen[bytes] | None = None
        try:
            self.path.mkdir()
        except OSError as error:
            raise HarnessError(f"no control group can be made in {parent}: {error.strerror}") from None

    def launching(self, command: Sequence[str]) -> list[str]:
        """Return `command`, started in this group, with all its memory."""
        into = f'echo $$ > {self.path}/cgroup.procs && exec "$@"'
        return ["sh", "-c", into, "sh", *command]

    def used_bytes(self) -> int:
        return int(self._read("memory.current" if self._v2 else "memory.usage_in_bytes"))

    def killed(self) -> int:
        """Return how many of its processes the kernel has killed for their memory."""
        lines = self._read("memory.events" if self._v2 else "memory.oom_control").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def limit(self, size: int | None) -> None:
        """Allow `size` bytes; None for any number."""
        name, unlimited = ("memory.max", "max") if self._v2 else ("memory.limit_in_bytes", "-1")
        (self.path / name).write_text(unlimited if size is None else str(size))

    def take(self, size: int) -> None:
        """Start a process in the group that takes `size` bytes. The kernel kills another one first if there is one."""
        self._hog = subprocess.Popen(
            self.launching([sys.executable, "-I", "-S", "-c", HOG, str(size)]), stdin=subprocess.PIPE, env={}
        )
        with suppress(OSError):
            Path(f"/proc/{self._hog.pid}/oom_score_adj").write_text("-1000")

    def give_back(self) -> None:
        """End the process that `take` started. Safe to repeat."""
        if self._hog:
            self._hog.kill()
            self._hog.communicate()
            self._hog = None

    def remove(self) -> None:
        """Remove the group, whose processes have ended.

        Raises:
            HarnessError: one still runs.
        """
        self.give_back()
        give_up_at = time.monotonic() + REMOVED_WITHIN_S
        while self.path.exists():
            try:
                self.path.rmdir()
            except OSError as error:
                if time.monotonic() > give_up_at:
                    raise HarnessError(f"the control group {self.path} was not removed: {error.strerror}") from None
                time.sleep(0.02)

    def _read(self, name: str) -> str:
        return (self.path / name).read_text()


def remove_all(prefix: str) -> None:
    """Remove the groups whose names begin with `prefix` and whose processes have ended."""
    with suppress(HarnessError, OSError):
        for path in _parent()[1].glob(f"{prefix}*"):
            with suppress(OSError):
                path.rmdir()


def _parent() -> tuple[bool, Path]:
    """Return whether groups of version 2 limit memory here, and the group in which one can be made.

    Raises:
        HarnessError: this machine has none.
    """
    own = dict(_own_groups())
    if "memory" in own:
        return False, GROUPS / "memory" / own["memory"]
    if "" not in own or not (GROUPS / "cgroup.controllers").exists():
        raise HarnessError(f"no control groups for memory are mounted at {GROUPS}")
    # A group with processes of its own cannot limit groups in it, so one above it may have to.
    for group in (path := GROUPS / own[""], *path.parents):
        control = group / "cgroup.subtree_control"
        if control.exists() and "memory" in control.read_text().split():
            return True, group
        if group == GROUPS:
            break
    raise HarnessError("no control group above this process limits the memory of groups in it")


def _own_groups() -> Iterator[tuple[str, str]]:
    """Each controller of version 1, and "" for version 2, with this process's group, without the first slash."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path.removeprefix("/")


@cache
def unavailable() -> str | None:
    """Return why this machine cannot limit a worker's memory, after trying it; None if it can."""
    try:
        group = MemoryGroup(f"duetime-try-{uuid4().hex}")
    except (HarnessError, OSError) as error:
        return str(error)
    try:
        group.limit(TRIED)
        tried = group.launching([sys.executable, "-I", "-S", "-c", HOG, str(2 * TRIED)])
        done = subprocess.run(tried, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env={}, check=False)
        if done.returncode == 0 or not group.killed():
            return "a process beyond the limit of its control group was not killed" + done.stderr.decode(
                errors="replace"
            )
    except (HarnessError, OSError) as error:
        return str(error)
    finally:
        with suppress(HarnessError):
            group.remove()
    return None
