"""What a service manager does: a server that ended by itself is started again a moment later."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from duetime.faults.fault import Sleeper, wait_for
from duetime.harness.processes.worker_process import WorkerProcess

RESTART_AFTER_S = 0.5
"""systemd's Restart=always waits 0.1 s by default; people write a few seconds."""


class Supervisor:
    """Watches the servers of one run from a thread, until stopped.

    Celery 5.7.0 makes this a part of any fair set-up: its worker ends when it holds an unacknowledged message and its
    broker connection goes. Only who ended by itself is started again, never who was killed or asked to end.
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
        """Wait until every server that was started again, and is meant to be up, serves; return the evidence.

        Raises:
            FaultNotVerified: one did not get there in time.
        """
        again = {str(restart["worker"]) for restart in self.restarts}
        # Who was killed or taken away since is somebody else's to bring back.
        workers = [worker for worker in self._workers if worker.name in again and worker.wanted]
        names = ", ".join(sorted(worker.name for worker in workers))
        wait_for(
            lambda: all(worker.serving() for worker in workers),
            stop,
            within_s=within_s,
            message=f"{names}, started again, did not serve",
        )
        return f"; {names} had ended by itself and serves again" if names else ""

    def _run(self) -> None:
        while not self._stopping.wait(RESTART_AFTER_S):
            for worker in self._workers:
                at_ns = time.monotonic_ns()
                status = worker.restart_if_crashed()
                if status is not None:
                    self.restarts.append({"worker": worker.name, "status": status, "at_ns": at_ns})
