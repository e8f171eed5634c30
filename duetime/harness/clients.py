"""The client processes of one run, as the harness sees them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from duetime.clock import Instant
from duetime.errors import HarnessError
from duetime.harness.keeper import belonging
from duetime.harness.plan import Operation
from duetime.harness.stopping import StopSignal
from duetime.settings import Settings

START_S = 60.0
AFTER_LAST_OPERATION_S = 20.0


class ClientProcess:
    """One client, from its start to its end."""

    def __init__(
        self, number: int, operations: Sequence[Operation], *, settings: Settings, history: Path, log: Path, place: Path
    ) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "duetime.harness.client"],
                env={**os.environ, **settings.environment(), **belonging(place)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._last_s = max((operation.at_s for operation in operations), default=0.0)
        instructions = {"client": number, "history": str(history), "operations": [asdict(op) for op in operations]}
        self._send(instructions)

    def wait_ready(self, stop: StopSignal) -> None:
        """Wait until the client has loaded its design and opened its connection.

        Raises:
            HarnessError: it ended instead, or did not get there in time.
        """
        assert self._process.stdout is not None  # noqa: S101 - PIPE was asked for
        give_up_at = time.monotonic() + START_S
        while not select.select([self._process.stdout], [], [], 0)[0]:
            if time.monotonic() > give_up_at:
                raise HarnessError(f"a client was not ready after {START_S:.0f} s")
            stop.sleep(0.02)
        if self._process.stdout.readline() != b"ready\n":
            raise HarnessError(f"a client did not start:\n{self._log.read_text(errors='replace')[-2000:]}")

    def begin(self, started: Instant) -> None:
        self._send(started._asdict())

    def wait_done(self, started: Instant, stop: StopSignal) -> None:
        """Wait until the client has carried out its last operation.

        Raises:
            HarnessError: it failed, or is far behind its plan.
        """
        give_up_ns = started.mono_ns + int((self._last_s + AFTER_LAST_OPERATION_S) * 1e9)
        while self._process.poll() is None:
            if time.monotonic_ns() > give_up_ns:
                raise HarnessError("a client was not done 20 s after its last operation was due")
            stop.sleep(0.05)
        if self._process.returncode != 0:
            raise HarnessError(f"a client failed:\n{self._log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None  # noqa: S101 - PIPE was asked for
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()
