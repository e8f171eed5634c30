"""Which server a fault hits: by name, all of them, or whichever is in the middle of its deliveries."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from duetime.faults.fault import FaultNotVerified, Sleeper
from duetime.faults.worker import ChooseWorkers
from duetime.harness.processes.worker_process import WorkerProcess

MIDDLE = 2
"""A server is in the middle of its deliveries when this many of them are recorded since the fault was due."""
MIDDLE_WITHIN_S = 2.5
"""Some delivery must come by then: longer than a poll interval."""


class TargetSelector:
    """The servers of one run, more of which may come, for the faults that choose when their time has come."""

    def __init__(self, workers: Sequence[WorkerProcess], deliveries: Path, *, delivery_time: timedelta) -> None:
        self._there = workers
        self._deliveries = deliveries
        # A delivery is recorded half-way through it.
        self._rest_of_delivery_ns = int(delivery_time.total_seconds() / 2 * 1e9)

    def named(self, target: str) -> ChooseWorkers:
        """What ``all``, ``delivering`` or a server's name stands for."""
        if target == "all":
            return self._all
        if target == "delivering":
            return self._delivering
        return lambda _stop: ([self._workers()[target]], "")

    def _workers(self) -> Mapping[str, WorkerProcess]:
        return {worker.name: worker for worker in self._there}

    def _all(self, _stop: Sleeper) -> tuple[Sequence[WorkerProcess], str]:
        there = [worker for worker in self._there if worker.wanted]
        if not there:
            raise FaultNotVerified("no server was up to be hit")
        return there, ""

    def _delivering(self, stop: Sleeper) -> tuple[Sequence[WorkerProcess], str]:
        worker, recorded_ns = self._first_in_the_middle(stop)
        since_ms = (time.monotonic_ns() - recorded_ns) / 1e6
        return [worker], f", {since_ms:.1f} ms after it recorded a delivery and before that delivery was over"

    def _first_in_the_middle(self, stop: Sleeper) -> tuple[WorkerProcess, int]:
        """Wait until one server has recorded `MIDDLE` deliveries from now on and is still busy with the last."""
        seen: dict[str, int] = {}
        workers = self._workers()
        give_up_at = time.monotonic() + MIDDLE_WITHIN_S
        with self._deliveries.open("rb") as lines:
            lines.seek(0, 2)
            partial = b""
            while time.monotonic() < give_up_at:
                partial += lines.read()
                *whole, partial = partial.split(b"\n")
                for line in whole:
                    record = json.loads(line)
                    worker = record["worker"]
                    seen[worker] = seen.get(worker, 0) + 1
                    busy = time.monotonic_ns() - record["at_ns"] < self._rest_of_delivery_ns
                    if worker in workers and seen[worker] >= MIDDLE and busy:
                        return workers[worker], record["at_ns"]
                stop.sleep(0.002)
        raise FaultNotVerified(
            f"no server delivered {MIDDLE} notifications within {MIDDLE_WITHIN_S} s: none to hit in one"
        )
