"""Restarts crashed workers, as a service manager does."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from duetime.faults.fault import Sleeper, wait_for
from duetime.harness.processes.worker_process import WorkerProcess

RESTART_AFTER_S = 0.5
"""Between systemd's default of 0.1 s for Restart=always and the few seconds that are often configured."""


class Supervisor:
    """Restarts the workers of one run that crash, from a thread, until stopped.

    Celery 5.7.0 makes this a part of any fair set-up: its worker ends when it holds an unacknowledged message and loses
    its broker connection. Workers that were killed by a fault or shut down are not restarted.
    """

    def __init__(self, workers: Sequence[WorkerProcess]) -> None:
        self._workers = workers
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self.restarts: list[dict[str, object]] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def wait_settled(self, stop: Sleeper, *, within_s: float) -> str:
        """Wait until every worker that crashed, restarted or not yet, and should be up is ready; return the evidence.

        Raises:
            FaultNotVerified: a worker was not ready in time.
        """
        restarted = {str(restart["worker"]) for restart in self.restarts}
        # A worker that was killed or removed since is not this supervisor's to restart.
        workers = [
            worker for worker in self._workers if worker.wanted and (worker.name in restarted or worker.main_ended())
        ]
        names = ", ".join(sorted(worker.name for worker in workers))
        wait_for(
            lambda: all(worker.serving() for worker in workers),
            stop,
            within_s=within_s,
            message=f"{names}, restarted after a crash, was not ready",
        )
        return f"; {names} had crashed and is ready again" if names else ""

    def _run(self) -> None:
        while not self._stopping.wait(RESTART_AFTER_S):
            for worker in self._workers:
                at_ns = time.monotonic_ns()
                status = worker.restart_if_crashed()
                if status is not None:
                    self.restarts.append({"worker": worker.name, "status": status, "at_ns": at_ns})
