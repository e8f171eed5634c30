"""The processes of a worker: they share a session, also after they left its process group or changed their name."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

SESSION = 3
"""Its place in /proc/PID/stat after the name: state, parent, process group, session."""


def session_members(leader: int) -> Sequence[int]:
    """Return the processes of the session that process `leader` began."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # The name of a program may contain spaces and brackets.
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[SESSION]) == leader:
                found.append(int(entry.name))
    return found


def kill_session(leader: int) -> None:
    """Send SIGKILL to every process of the session that process `leader` began."""
    for pid in session_members(leader):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
