"""Failpoints: named points in a process at which a test or a scenario can crash it, deterministically.

The points are in the gateway, in SQLAlchemy's session and in Celery's publishing; a design contains none. A process
with ``DUETIME_FAILPOINTS`` set to a file checks the file at each point, so a failpoint can be armed while the process
runs. The file contains ``{"point": "after_commit", "action": "kill", "nth": 1}``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, assert_never, get_args

from duetime.errors import BadUsage
from duetime.runtime.jsonl import append_once, write_at_once

Point = Literal["before_deliver", "after_deliver", "before_commit", "after_commit", "before_publish"]
Action = Literal["kill", "raise", "sleep"]
VARIABLE = "DUETIME_FAILPOINTS"


class FailpointError(Exception):
    """Raised by a failpoint at `point`; the operation that it precedes was not carried out."""

    def __init__(self, point: Point) -> None:
        super().__init__(f"failpoint {point}")
        self.point = point


@dataclass(frozen=True, slots=True, kw_only=True)
class Failpoint:
    """An action at the `nth` time that a process reaches `point` after the failpoint was armed.

    kill: SIGKILL to the process group, which ends the whole worker or client. In the gateway for workers over HTTP it
    ends the worker that delivers, and its request is dropped.
    seconds: duration of ``sleep``.
    """

    point: Point
    action: Action
    nth: int = 1
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (("point", get_args(Point)), ("action", get_args(Action))):
            if getattr(self, name) not in known:
                raise BadUsage(f"{VARIABLE}: {name} {getattr(self, name)!r} is none of {', '.join(known)}")

    def arm(self, file: Path) -> None:
        """Arm the failpoint in every process that checks `file`."""
        write_at_once(file, asdict(self))


def disarm(file: Path) -> None:
    file.unlink(missing_ok=True)


def hits(file: Path) -> list[dict[str, Any]]:
    """Return a record of each time that a failpoint armed in `file` was triggered."""
    records = _hits_file(file)
    return [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []


def kill_own_group() -> None:
    os.killpg(0, signal.SIGKILL)


class Failpoints:
    """The failpoints of one process, or of one worker in the gateway that serves it.

    kill: carries out the action of that name.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, *, kill: Callable[[], None] = kill_own_group
    ) -> None:
        name = environment.get(VARIABLE)
        self._file = Path(name) if name else None
        self._kill = kill
        self._lock = threading.Lock()
        self._armed: Failpoint | None = None
        self._armed_at_ns = 0
        self._passed = 0

    def hit(self, point: Point) -> None:
        """Trigger the failpoint that is armed at `point`, if there is one."""
        if self._file is None:
            return
        with self._lock:
            armed = self._read_armed(self._file)
            if armed is None or armed.point != point:
                return
            self._passed += 1
            reached = self._passed == armed.nth
        if reached:
            self._trigger(armed, self._file)

    def watch(self) -> None:
        """Hit the points before and after each commit of a SQLAlchemy session, and before each publish by Celery."""
        if self._file is None:
            return
        from sqlalchemy import event
        from sqlalchemy.orm import Session

        # On the class, so that it runs before the listeners of a session, in which a design acts after the commit.
        event.listen(Session, "before_commit", lambda _session: self.hit("before_commit"))
        event.listen(Session, "after_commit", lambda _session: self.hit("after_commit"))
        # A process that has not imported Celery by now does not publish with it; importing it here would take time.
        if "celery" in sys.modules:
            from celery.signals import before_task_publish

            before_task_publish.connect(lambda **_: self.hit("before_publish"), weak=False)

    def _read_armed(self, file: Path) -> Failpoint | None:
        try:
            changed_ns = file.stat().st_mtime_ns
        except FileNotFoundError:
            self._armed = None
        else:
            if changed_ns != self._armed_at_ns:
                self._armed = Failpoint(**json.loads(file.read_text()))
                self._armed_at_ns, self._passed = changed_ns, 0
        return self._armed

    def _trigger(self, armed: Failpoint, file: Path) -> None:
        # Recorded first, because the action may end this process.
        append_once(_hits_file(file), {**asdict(armed), "pid": os.getpid(), "at_ns": time.monotonic_ns()})
        match armed.action:
            case "kill":
                self._kill()
            case "raise":
                raise FailpointError(armed.point)
            case "sleep":
                time.sleep(armed.seconds)
            case _:
                assert_never(armed.action)


def _hits_file(file: Path) -> Path:
    return file.with_suffix(".hits")
