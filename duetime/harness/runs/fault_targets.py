"""Selects the workers that a fault hits: by name, all, or the one in a phase of a delivery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from duetime.faults.delivery_hit import WorkerInDelivery
from duetime.faults.fault import FaultNotVerified, Sleeper
from duetime.faults.worker import Choice, ChooseWorkers
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.runtime.delivery_phases import PHASE_OF_TARGET, DeliveryPhase

MIDDLE = 2
"""A worker is hit in its delivery of this number since the fault was due, when it has more to do before and after."""
MIDDLE_WITHIN_S = 2.5
"""Longer than a poll interval, so that some delivery must come in this time."""


class TargetSelector:
    """Selects among `workers`, a list to which workers may be added later, when a fault is prepared."""

    def __init__(self, workers: Sequence[WorkerProcess], deliveries: Path, *, over_http: bool) -> None:
        """over_http: the workers deliver to a gateway in a process of its own."""
        self._workers = workers
        self._deliveries = deliveries
        self._over_http = over_http

    def named(self, target: str, *, within_s: float = 0.0) -> ChooseWorkers:
        """The selection for ``all``, a phase of a delivery, or a worker's name.

        within_s: how long to wait for the phase, if that is longer than `MIDDLE_WITHIN_S`.
        """
        if target == "all":
            return self._all
        if target in PHASE_OF_TARGET:
            return partial(self._in_phase, PHASE_OF_TARGET[target], max(MIDDLE_WITHIN_S, within_s))
        return lambda _stop: Choice([self._by_name()[target]])

    def _by_name(self) -> Mapping[str, WorkerProcess]:
        return {worker.name: worker for worker in self._workers}

    def _all(self, _stop: Sleeper) -> Choice:
        running = [worker for worker in self._workers if worker.wanted]
        if not running:
            raise FaultNotVerified("no worker was up")
        return Choice(running)

    def _in_phase(self, phase: DeliveryPhase, within_s: float, stop: Sleeper) -> Choice:
        hit = WorkerInDelivery(self._deliveries, phase, nth=MIDDLE, over_http=self._over_http)
        moment = hit.wait_chosen(stop, within_s=within_s)
        worker = self._by_name()[hit.worker]
        hit.since_ns = worker.started_ns
        return Choice([worker], moment, hit)
