"""Selects the workers that a fault hits: by name, all, or the one in the middle of its deliveries."""

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
"""A worker is in the middle of its deliveries once it has recorded this many since the fault was due."""
MIDDLE_WITHIN_S = 2.5
"""Longer than a poll interval, so that some delivery must come in this time."""


class TargetSelector:
    """Selects among `workers`, a list to which workers may be added later, when a fault is prepared."""

    def __init__(self, workers: Sequence[WorkerProcess], deliveries: Path, *, delivery_time: timedelta) -> None:
        self._workers = workers
        self._deliveries = deliveries
        # The gateway records a delivery halfway through it.
        self._rest_of_delivery_ns = int(delivery_time.total_seconds() / 2 * 1e9)

    def named(self, target: str) -> ChooseWorkers:
        """The selection for ``all``, ``delivering`` or a worker's name."""
        if target == "all":
            return self._all
        if target == "delivering":
            return self._delivering
        return lambda _stop: ([self._by_name()[target]], "")

    def _by_name(self) -> Mapping[str, WorkerProcess]:
        return {worker.name: worker for worker in self._workers}

    def _all(self, _stop: Sleeper) -> tuple[Sequence[WorkerProcess], str]:
        running = [worker for worker in self._workers if worker.wanted]
        if not running:
            raise FaultNotVerified("no worker was up")
        return running, ""

    def _delivering(self, stop: Sleeper) -> tuple[Sequence[WorkerProcess], str]:
        worker, recorded_ns = self._first_in_the_middle(stop)
        since_ms = (time.monotonic_ns() - recorded_ns) / 1e6
        return [worker], f", {since_ms:.1f} ms after it recorded a delivery and before that delivery was over"

    def _first_in_the_middle(self, stop: Sleeper) -> tuple[WorkerProcess, int]:
        """Wait until a worker has recorded `MIDDLE` deliveries from now on and is still busy with the last."""
        recorded: dict[str, int] = {}
        workers = self._by_name()
        give_up_at = time.monotonic() + MIDDLE_WITHIN_S
        with self._deliveries.open("rb") as file:
            file.seek(0, 2)
            partial = b""
            while time.monotonic() < give_up_at:
                partial += file.read()
                *complete, partial = partial.split(b"\n")
                for line in complete:
                    record = json.loads(line)
                    name = record["worker"]
                    recorded[name] = recorded.get(name, 0) + 1
                    busy = time.monotonic_ns() - record["at_ns"] < self._rest_of_delivery_ns
                    if name in workers and recorded[name] >= MIDDLE and busy:
                        return workers[name], record["at_ns"]
                stop.sleep(0.002)
        raise FaultNotVerified(
            f"no worker delivered {MIDDLE} notifications within {MIDDLE_WITHIN_S} s, so none was in the middle of one"
        )
