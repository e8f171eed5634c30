"""A scheduler in a process of its own, for libraries of other languages: one JSON line for each call and each answer.

The calls are published after the caller's commit. docs/scheduling.md describes the protocol.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

from duetime.after_commit import after_commit
from duetime.contenders import filled
from duetime.errors import RefusedAfterCommit, SchedulerProcessFailed
from duetime.interface import Notification, Scheduler
from duetime.runtime import die_with_parent

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from duetime.contenders import Contender
    from duetime.settings import Settings

_START_S = 30.0
_ANSWER_S = 10.0
_LARGEST_READ = 65536


class SchedulerProcess(Scheduler):
    """Passes each call, after the commit, to a process that is started once and dies with this one.

    It is killed by the kernel when the thread that made this object ends, so make it in the main thread. A process that
    has failed to answer is killed, and the next call starts another.

    command: a program and its arguments, without a shell around it; ``{here}`` is the contender's folder, ``{python}``
    its interpreter. answer_within_s: the time limit of a call.

    Raises:
        SchedulerProcessFailed: the process was not ready within 30 s. Raised by ``session.commit()`` as well: it did
            not answer, or answered with an error. The outcome is unknown.
        RefusedAfterCommit: raised by ``session.commit()``: the library refuses the notification.
    """

    def __init__(
        self, contender: Contender, settings: Settings, *command: str, answer_within_s: float = _ANSWER_S
    ) -> None:
        self._command = [filled(part, contender.places(settings)) for part in command]
        self._environment = {**os.environ, **contender.environment(settings.database_url, settings.broker_url)}
        self._answer_within_s = answer_within_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    def schedule(self, notification: Notification, *, session: Session) -> None:
        """Pass the notification on after the commit."""
        self._publish({"do": "schedule", **notification.to_json()}, session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        """Pass the cancel on after the commit."""
        self._publish({"do": "cancel", "key": key, "revision": revision}, session)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            with self._process:  # closes the pipes and waits
                self._process = None

    def _publish(self, call: dict[str, Any], session: Session) -> None:
        line = json.dumps(call).encode() + b"\n"
        after_commit(session, lambda: self._call(line))

    def _call(self, line: bytes) -> None:
        with self._lock:
            answer = self._exchange(line, self._answer_within_s)
        match answer:
            case {"ok": True}:
                return
            case {"refused": str(reason)}:
                raise RefusedAfterCommit(reason)
            case {"error": str(reason)}:
                raise SchedulerProcessFailed(self._command, f"answered with an error: {reason}")
            case _:
                self._fail(f"answered {json.dumps(answer)[:200]}, which has neither ok, nor refused, nor error")

    def _exchange(self, line: bytes, within_s: float) -> Any:
        """Send `line` and return the answer.

        Raises:
            SchedulerProcessFailed: there was none in time. The process is killed, so that no later answer is taken for
                that of another call.
        """
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - pipes were asked for
        if select.select([process.stdout], [], [], 0)[0] and line:
            self._fail("has ended, or wrote to its standard output without a call; it has to log to standard error")
        unsent, received = memoryview(line), b""
        give_up_at = time.monotonic() + within_s
        while not received.endswith(b"\n"):
            left_s = max(0.0, give_up_at - time.monotonic())
            readable, writable, _ = select.select([process.stdout], [process.stdin] if unsent else [], [], left_s)
            try:
                if writable:
                    unsent = unsent[os.write(process.stdin.fileno(), unsent) :]
                chunk = os.read(process.stdout.fileno(), _LARGEST_READ) if readable else b""
            except OSError:  # its end of a pipe is closed
                self._fail("has ended")
            if readable and not chunk:
                self._fail("has ended")
            if not readable and not writable:
                self._fail(f"did not answer within {within_s:g} s")
            received += chunk
        try:
            return json.loads(received)
        except ValueError:
            self._fail(f"wrote {received[:200]!r} instead of an answer; it has to log to standard error")

    def _start(self) -> subprocess.Popen[bytes]:
        launcher = [sys.executable, "-I", die_with_parent.__file__, str(os.getpid())]
        self._process = subprocess.Popen(
            [*launcher, *self._command],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin is not None  # noqa: S101 - PIPE was asked for
        # A call of 64 KiB does not fit into the pipe of a process that does not read.
        os.set_blocking(self._process.stdin.fileno(), False)
        if self._exchange(b"", _START_S) != {"ok": True}:
            self._fail('did not begin with the line {"ok": true}')
        return self._process

    def _fail(self, what: str) -> NoReturn:
        self.close()
        raise SchedulerProcessFailed(self._command, what)
