"""Named instants in the ports of a process at which a test or a scenario may strike: deterministic crashes.

The ports are the gateway, SQLAlchemy's session and Celery's publishing; a design has none of this in it. A process
that was told of a file by ``DUETIME_FAILPOINTS`` looks into it at each of these instants, so that a failpoint can be
armed while the process runs. The file holds ``{"point": "after_commit", "action": "kill", "nth": 1}``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, assert_never, get_args

from duetime.errors import BadUsage
from duetime.runtime.jsonl import append_once

Point = Literal["before_deliver", "after_deliver", "before_commit", "after_commit", "before_publish"]
Action = Literal["kill", "raise", "sleep"]
VARIABLE = "DUETIME_FAILPOINTS"


class FailpointError(Exception):
    """Raised by a failpoint; what was under way before it had not been carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failpoint:
    """What happens at the `nth` time that a process comes by `point` after it was armed.

    kill: SIGKILL to the process group of whoever comes by, so a whole server or client is gone.
    seconds: how long ``sleep`` sleeps.
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
        """Make every process that watches `file` strike from now on."""
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(file)


def disarm(file: Path) -> None:
    file.unlink(missing_ok=True)


def hits(file: Path) -> list[dict[str, Any]]:
    """What failpoints armed by `file` have done so far."""
    written = _hits_file(file)
    return [json.loads(line) for line in written.read_text().splitlines()] if written.exists() else []


class Failpoints:
    """The failpoints of one process."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get(VARIABLE)
        self._file = Path(name) if name else None
        self._armed: Failpoint | None = None
        self._armed_at_ns = 0
        self._passed = 0

    def hit(self, point: Point) -> None:
        """Do what is armed for `point`, which mostly is nothing."""
        if self._file is None:
            return
        armed = self._look(self._file)
        if armed is None or armed.point != point:
            return
        self._passed += 1
        if self._passed == armed.nth:
            self._trigger(armed, self._file)

    def watch(self) -> None:
        """Come by before and after each commit of a SQLAlchemy session, and before each publication by Celery."""
        if self._file is None:
            return
        from sqlalchemy import event
        from sqlalchemy.orm import Session

        # On the class: before any listener of one session, so before whatever a design does after the commit.
        event.listen(Session, "before_commit", lambda _session: self.hit("before_commit"))
        event.listen(Session, "after_commit", lambda _session: self.hit("after_commit"))
        # Who has not imported Celery by now publishes nothing by it, and need not wait for the import.
        if "celery" in sys.modules:
            from celery.signals import before_task_publish

            before_task_publish.connect(lambda **_: self.hit("before_publish"), weak=False)

    def _look(self, file: Path) -> Failpoint | None:
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
        # Before the deed: there may be no after.
        append_once(_hits_file(file), {**asdict(armed), "pid": os.getpid(), "at_ns": time.monotonic_ns()})
        match armed.action:
            case "kill":
                os.killpg(0, signal.SIGKILL)
            case "raise":
                raise FailpointError(f"failpoint {armed.point}")
            case "sleep":
                time.sleep(armed.seconds)
            case _:
                assert_never(armed.action)


def _hits_file(file: Path) -> Path:
    return file.with_suffix(".hits")
