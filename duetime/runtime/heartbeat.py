"""Heartbeats: a worker records its latest activity and the latest time of the next one.

A reader of heartbeats needs neither the worker, which may be paused, nor its database or broker: an overdue heartbeat
is sufficient evidence. Without a heartbeat file nothing is written.
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
    """The latest activity of a worker, its time, and the limit in seconds until the next activity.

    at_ns: ``time.monotonic_ns()``: all processes of a Linux host share it, and setting a clock does not change it.
    reached: end of the period that the worker's last poll covered, ISO 8601; None for a design that does not poll.
    """

    activity: str
    at_ns: int
    again_within_s: float
    reached: str | None = None

    def overdue_s(self, now_ns: int) -> float:
        """Return for how many seconds the next heartbeat has been overdue at `now_ns`; negative before that."""
        age_s = (now_ns - self.at_ns) / 1e9
        # A time in the future was recorded before the last boot of this machine.
        return age_s - self.again_within_s if age_s >= 0 else float("inf")


class Heartbeat:
    """Writes the latest heartbeat to `file`; does nothing without a file.

    note: follows each activity: what limits the worker at present.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.note = ""
        self._file = file

    def beat(self, activity: str, *, again_within_s: float, reached: str | None = None) -> None:
        """Record `activity` (a verb and its object) and the limit until the next one."""
        if self._file is None:
            return
        record = HeartbeatRecord(
            activity=activity + self.note, at_ns=time.monotonic_ns(), again_within_s=again_within_s, reached=reached
        )
        # One draft per process, because a poller's pool has several processes.
        draft = self._file.with_suffix(f".{os.getpid()}")
        # Ignored, because a heartbeat that cannot be written becomes overdue, as it should.
        with suppress(OSError):
            draft.write_text(json.dumps(asdict(record)))
            draft.replace(self._file)


NO_HEARTBEAT = Heartbeat()


def heartbeat_from(settings: Settings) -> Heartbeat:
    return Heartbeat(settings.heartbeat)


def read_heartbeat(file: Path) -> HeartbeatRecord | None:
    """Return the latest heartbeat in `file`; None if the file is missing or contains no heartbeat."""
    try:
        fields: Mapping[str, Any] = json.loads(file.read_text())
        return HeartbeatRecord(**fields)
    except (OSError, ValueError, TypeError):
        return None
