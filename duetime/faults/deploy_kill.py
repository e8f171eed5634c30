"""A deploy whose grace a delivery outlasts: SIGTERM, and SIGKILL when the grace is over, as Kubernetes does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from duetime.faults.fault import FaultNotVerified, Sleeper, wait_for
from duetime.faults.worker import WARM_S, Choice, ChooseWorkers, WorkerTarget, each, names, wait_gone


class DeployKill:
    """SIGTERM to a worker in a delivery that the gateway holds, and SIGKILL if it still runs `grace_s` later.

    A worker may end within the grace, by giving up the delivery. Healing restarts it, then shuts down and restarts each
    other worker, which has no such delivery, in an orderly way.
    """

    def __init__(self, choose: ChooseWorkers, everyone: ChooseWorkers, *, grace_s: float) -> None:
        self._choose = choose
        self._everyone = everyone
        self._grace_s = grace_s
        self._choice = Choice()
        self._others: Sequence[WorkerTarget] = ()
        self._terminated_ns = 0
        self.delivery: Mapping[str, object] | None = None

    def prepare(self, stop: Sleeper) -> str:
        self._choice = self._choose(stop)
        chosen = {worker.name for worker in self._choice.workers}
        self._others = [worker for worker in self._everyone(stop).workers if worker.name not in chosen]
        [worker] = self._choice.workers
        rest = f"; then {names(self._others)}, which ends in an orderly way" if self._others else ""
        return f"{worker.stop_signal} to {worker.name}{self._choice.moment}, SIGKILL after {self._grace_s:g} s{rest}"

    def inject(self) -> None:
        for worker in self._choice.workers:
            worker.terminate()
        self._terminated_ns = time.monotonic_ns()

    def verify_injected(self, stop: Sleeper) -> str:
        [worker], hit = self._choice.workers, self._choice.hit
        if hit is None or not self._terminated_ns:
            raise FaultNotVerified(f"{worker.name} got no {worker.stop_signal} in a delivery")
        ended = _ended(worker, stop, within_s=self._grace_s)
        how = (
            worker.exit_evidence() if ended else f"still ran {self._grace_s:g} s after {worker.stop_signal}, so killed"
        )
        ended_ns = time.monotonic_ns()
        # Remaining child processes are killed too, as a service manager ends a control group.
        worker.kill()
        gone = wait_gone(worker, stop)
        # Only now: a worker that still ran would have its answer.
        hit.release()
        hit.wait_dropped(stop)
        self.delivery, words = hit.measure(ended_ns)
        return f"{worker.name}: {how}; {gone}; {words}"

    def heal(self) -> None:
        self._choice.restart()

    def verify_healed(self, stop: Sleeper) -> str:
        evidence = [each(self._choice.workers, lambda worker: worker.wait_ready(stop))]
        for worker in self._others:
            worker.terminate()
            how = worker.exit_evidence() if _ended(worker, stop, within_s=WARM_S) else None
            worker.kill()
            wait_gone(worker, stop)
            worker.start()
            ready = worker.wait_ready(stop)
            if how is None:
                raise FaultNotVerified(f"{worker.name} did not end on {worker.stop_signal} within {WARM_S:g} s")
            evidence.append(f"{worker.name}: {how}, {ready}")
        return "; ".join(evidence)


def _ended(worker: WorkerTarget, stop: Sleeper, *, within_s: float) -> bool:
    try:
        wait_for(worker.main_ended, stop, within_s=within_s, message="")
    except FaultNotVerified:
        return False
    return True
