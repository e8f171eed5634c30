"""Runs a command that is killed when its parent process dies: ``die_with_parent.py PARENT_PID COMMAND …``.

Started as a file, not as a module, because the parent may have been started in any directory.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>. It survives the exec of a program that is not setuid (prctl(2))."""
NOT_FOUND = 127


def main(parent: int, command: list[str]) -> None:
    """Become `command`. On another system than Linux it has to end by itself when its standard input closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return  # the parent died before the call of prctl
    try:
        os.execvp(command[0], command)  # noqa: S606 - a command without a shell is what it is for
    except OSError as error:
        print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(NOT_FOUND)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
