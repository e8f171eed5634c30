"""Signs of life: a server says what it has just done, and by when it means to do it again.

Whoever looks does not ask the server, which may be standing still, and needs neither its database nor its broker: a
sign that has outlived its own announcement is enough. Costs nothing where nobody gave the server a file for it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duetime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatRecord:
    """What a server did, when, and within how many seconds it meant to do it again.

    at_ns: ``time.monotonic_ns()``, which all processes of one Linux host share and no wall clock moves.
    reached: how far the worker's last poll looked, ISO 8601; None for a design that does not poll.
    """

    activity: str
    at_ns: int
    again_within_s: float
    reached: str | None = None

    def overdue_s(self, now_ns: int) -> float:
        """For how many seconds the next sign has been due at `now_ns`; below zero while it is not."""
        age_s = (now_ns - self.at_ns) / 1e9
        # From the future: left by a server that ran before this machine was started.
        return age_s - self.again_within_s if age_s >= 0 else float("inf")


class Heartbeat:
    """Leaves the latest sign of life in `file`; nowhere, if there is none."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    def beat(self, activity: str, *, again_within_s: float, reached: str | None = None) -> None:
        """Say that this server `did` something (a verb and its object), and how soon it will again at the latest."""
        if self._file is None:
            return
        sign = HeartbeatRecord(
            activity=activity, at_ns=time.monotonic_ns(), again_within_s=again_within_s, reached=reached
        )
        # Of this process alone: a poller's pool has several.
        draft = self._file.with_suffix(f".{os.getpid()}")
        # A sign that cannot be written goes overdue, which is what whoever looks should see.
        with suppress(OSError):
            draft.write_text(json.dumps(asdict(sign)))
            draft.replace(self._file)


NO_HEARTBEAT = Heartbeat()


def heartbeat_from(settings: Settings) -> Heartbeat:
    """The heartbeat of this process's server."""
    return Heartbeat(settings.heartbeat)


def read_heartbeat(file: Path) -> HeartbeatRecord | None:
    """The last one left in `file`; None if there was none yet, or what is there is none."""
    try:
        written: Mapping[str, Any] = json.loads(file.read_text())
        return HeartbeatRecord(**written)
    except (OSError, ValueError, TypeError):
        return None
