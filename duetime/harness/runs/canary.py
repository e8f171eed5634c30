"""Evidence that the harness itself was not starved: canaries through the gateway, and readings of both clocks."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from duetime.clock import Instant, instant
from duetime.runtime.gateway import JournalGateway
from duetime.runtime.jsonl import JsonLinesWriter

READ_CLOCKS_EVERY = 4
"""Canaries between two readings of the clocks."""


class CanarySender:
    """Delivers canary number n at start + n periods, in a thread, until stopped.

    clock: the file for the readings of the clocks.
    """

    def __init__(self, gateway: JournalGateway, clock: Path, *, period_s: float) -> None:
        self._gateway = gateway
        self._clock = JsonLinesWriter(clock)
        self._period_ns = int(period_s * 1e9)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canary", daemon=True)

    def start(self, started: Instant) -> None:
        """Begin. `started` becomes the first reading, because all due times are converted with it."""
        self._clock.append(started._asdict())
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._clock.close()

    def _run(self) -> None:
        started_ns = time.monotonic_ns()
        number = 0
        while not self._stopping.is_set():
            due_ns = started_ns + number * self._period_ns
            if (wait_ns := due_ns - time.monotonic_ns()) > 0 and self._stopping.wait(wait_ns / 1e9):
                return
            self._gateway.record("canary", number, attempt=1, due_ns=due_ns)
            if number % READ_CLOCKS_EVERY == 0:
                self._clock.append(instant()._asdict())
            number += 1
