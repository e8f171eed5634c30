"""A small file system of its own for the data of one service, so that it can be full while all others have room.

It is a tmpfs, whose files outlive the processes of a service. The process that cleans up after a command unmounts what
is left below the command's temporary directory, also after SIGKILL of the command.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from duetime.errors import HarnessError

ROOM = 48 << 20
"""Bytes beside what is copied there: more than one run writes."""
MARGIN = 64 << 10
"""Bytes for the file system's own directories."""
BALLAST = "ballast"
MS_NOSUID, MS_NODEV, MNT_DETACH = 2, 4, 2


class SmallDisk:
    """A file system that can be filled. directory: where it is mounted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ballast = directory / BALLAST

    def fill(self) -> int:
        """Fill what is free; return how many bytes the file that fills it has.

        Raises:
            OSError: another error than that it is full.
        """
        with self._ballast.open("ab", buffering=0) as ballast:
            # Page by page at the end: a request that does not fit takes nothing.
            for size in (1 << 20, os.sysconf("SC_PAGE_SIZE")):
                _append_until_full(ballast.fileno(), size)
            return os.fstat(ballast.fileno()).st_size

    def free_bytes(self) -> int:
        found = os.statvfs(self.directory)
        return found.f_bavail * found.f_frsize

    def make_room(self) -> None:
        """Remove the file that fills it. Safe to repeat."""
        self._ballast.unlink(missing_ok=True)


def _append_until_full(file: int, size: int) -> None:
    while True:
        try:
            os.posix_fallocate(file, os.fstat(file).st_size, size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return


@contextmanager
def small_disk(directory: Path, *, for_copy_of: Path | None = None) -> Iterator[SmallDisk]:
    """Mount a small disk on the existing `directory` until the end of the block, with room for a copy of a directory.

    Raises:
        HarnessError: this machine does not allow it.
    """
    copied = sum(_allocated(file) for file in for_copy_of.rglob("*")) if for_copy_of else 0
    options = f"size={copied + ROOM + MARGIN},mode={directory.stat().st_mode & 0o777:o}"
    _call("mount", b"duetime", os.fsencode(directory), b"tmpfs", MS_NOSUID | MS_NODEV, options.encode())
    try:
        yield SmallDisk(directory)
    finally:
        unmount(directory)


def _allocated(file: Path) -> int:
    page = os.sysconf("SC_PAGE_SIZE")
    return -(-file.lstat().st_size // page) * page


def unmount(directory: Path) -> None:
    """Unmount `directory` now, or when the last process that uses it has ended."""
    _call("umount2", os.fsencode(directory), MNT_DETACH)


def unmount_below(tempdir: Path) -> None:
    """Unmount what is mounted below `tempdir`, the innermost first."""
    mounted = [_unescaped(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for directory in sorted((each for each in mounted if each.startswith(f"{tempdir}/")), reverse=True):
        unmount(Path(directory))


def _unescaped(path: str) -> str:
    """The path of a line in mountinfo, in which a space is \\040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _call(name: str, *arguments: bytes | int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        code = ctypes.get_errno()
        required = "; it requires the capability CAP_SYS_ADMIN" if code == errno.EPERM else ""
        raise HarnessError(f"{name} failed: {os.strerror(code)}{required}")


@cache
def unavailable() -> str | None:
    """Return why this machine cannot fill a disk of one service, after trying it; None if it can."""
    with tempfile.TemporaryDirectory(prefix="duetime-disk-") as directory:
        try:
            with small_disk(Path(directory)) as disk:
                disk.fill()
                return "a full file system has room left" if disk.free_bytes() else None
        except (HarnessError, OSError) as error:
            return str(error)
