"""Faults of workers: killed, restarted one by one, paused, added and removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from duetime.faults.fault import FaultNotVerified, Sleeper, wait_for

GONE_S = 5.0
SERVING_S = 30.0
WARM_S = 10.0
"""Limit of a warm shutdown; after it a worker is killed, as service managers do."""


class WorkerTarget(Protocol):
    """The interface of a worker that these faults need."""

    @property
    def name(self) -> str: ...

    def kill(self) -> None:
        """Send SIGKILL to all its processes, without waiting."""

    @property
    def stop_signal(self) -> str:
        """Return the name of the signal that asks it to end in an orderly way, usually SIGTERM."""

    def terminate(self) -> None:
        """Send that signal to its main process."""

    def main_ended(self) -> bool: ...

    def exit_evidence(self) -> str:
        """Return how it ended after `terminate`. It keeps an exit status that its role does not call orderly."""

    def alive(self) -> bool: ...

    def serving(self) -> bool:
        """Return True if it is alive and has reported that it is ready."""

    def gone(self) -> str | None:
        """Return the evidence that all its processes have ended; None while one runs."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def states(self) -> Sequence[str]:
        """Return the state of each of its processes in /proc; T is stopped."""

    def start(self) -> None: ...

    def wait_ready(self, stop: Sleeper, /) -> str:
        """Wait until it serves. Return the evidence."""


class DeliveryHit(Protocol):
    """The delivery in which a worker is hit. The gateway holds it until ``release``."""

    def release(self) -> None:
        """Let the gateway go on. Safe to repeat."""

    def wait_dropped(self, stop: Sleeper, /) -> None:
        """Wait until the gateway has dropped what it held for a worker that is gone.

        Raises:
            FaultNotVerified: it did not in time.
        """

    def measure(self, hit_ns: int, /) -> tuple[Mapping[str, object], str]:
        """Return what the files say about the delivery, for the record, and in words. hit_ns: when the fault hit."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The workers that a fault hits. moment: a description. hit: the delivery, if the fault asks for a phase of one."""

    workers: Sequence[WorkerTarget] = ()
    moment: str = ""
    hit: DeliveryHit | None = None

    def release(self) -> None:
        if self.hit:
            self.hit.release()

    def restart(self) -> None:
        """Release, and start the workers that have ended: one that survived must not run twice."""
        self.release()
        for worker in self.workers:
            if worker.main_ended():
                worker.start()


ChooseWorkers = Callable[[Sleeper], Choice]
"""Chooses the workers at the time of the fault."""


class KillWorkers:
    """SIGKILL of workers: no handler runs, no connection is closed cleanly, no message is returned to the broker."""

    def __init__(self, choose: ChooseWorkers) -> None:
        self._choose = choose
        self._choice = Choice()
        self._hit_ns = 0
        self.delivery: Mapping[str, object] | None = None

    def prepare(self, stop: Sleeper) -> str:
        self._choice = self._choose(stop)
        return f"SIGKILL to the process group of {names(self._choice.workers)}{self._choice.moment}"

    def inject(self) -> None:
        self._hit_ns = time.monotonic_ns()
        for worker in self._choice.workers:
            worker.kill()

    def verify_injected(self, stop: Sleeper) -> str:
        evidence = each(self._choice.workers, lambda worker: wait_gone(worker, stop))
        if hit := self._choice.hit:
            # Only now: a worker that still ran would have its answer.
            hit.release()
            hit.wait_dropped(stop)
            self.delivery, words = hit.measure(self._hit_ns)
            evidence += f"; {words}"
        return evidence

    def heal(self) -> None:
        self._choice.restart()

    def verify_healed(self, stop: Sleeper) -> str:
        return each(self._choice.workers, lambda worker: worker.wait_ready(stop))


class Deploy:
    """SIGTERM, or the signal of its role, to one worker after another; each is restarted before the next signal.

    The whole round is part of ``verify_injected``, so ``heal`` has nothing to do.
    """

    def __init__(self, choose: ChooseWorkers) -> None:
        self._choose = choose
        self._workers: Sequence[WorkerTarget] = ()

    def prepare(self, stop: Sleeper) -> str:
        self._workers = self._choose(stop).workers
        return f"{self._workers[0].stop_signal} to {names(self._workers)}, one after another"

    def inject(self) -> None:
        self._workers[0].terminate()

    def verify_injected(self, stop: Sleeper) -> str:
        evidence, hung = [], []
        for number, worker in enumerate(self._workers):
            if number > 0:
                worker.terminate()
            ended = self._ended_warmly(worker, stop)
            hung_on = f"killed, because it did not end within {WARM_S:g} s of {worker.stop_signal}"
            how = worker.exit_evidence() if ended else hung_on
            evidence.append(f"{worker.name}: {how}, {self._restart(worker, stop)}")
            if not ended:
                hung.append(evidence[-1])
        if hung:
            raise FaultNotVerified("; ".join(hung))
        return "; ".join(evidence)

    def heal(self) -> None:
        """Do nothing: every worker was restarted."""

    def verify_healed(self, stop: Sleeper) -> str:
        return each(self._workers, lambda worker: worker.wait_ready(stop))

    def _ended_warmly(self, worker: WorkerTarget, stop: Sleeper) -> bool:
        try:
            wait_for(worker.main_ended, stop, within_s=WARM_S, message="")
        except FaultNotVerified:
            return False
        return True

    def _restart(self, worker: WorkerTarget, stop: Sleeper) -> str:
        # Remaining child processes are killed, as a service manager ends a control group.
        worker.kill()
        evidence = wait_gone(worker, stop)
        worker.start()
        worker.wait_ready(stop)
        return evidence


class PauseWorkers:
    """SIGSTOP of every process of a worker: it keeps its claims and connections, and cannot notice the pause."""

    def __init__(self, choose: ChooseWorkers) -> None:
        self._choose = choose
        self._choice = Choice()
        self._hit_ns = 0
        self.delivery: Mapping[str, object] | None = None

    def prepare(self, stop: Sleeper) -> str:
        self._choice = self._choose(stop)
        return f"SIGSTOP to every process of {names(self._choice.workers)}{self._choice.moment}"

    def inject(self) -> None:
        self._hit_ns = time.monotonic_ns()
        for worker in self._choice.workers:
            worker.pause()

    def verify_injected(self, stop: Sleeper) -> str:
        self._wait_state("T", stop, within_s=2, message=f"{names(self._choice.workers)} did not stop")
        evidence = each(self._choice.workers, lambda worker: f"{len(worker.states())} processes in state T")
        if hit := self._choice.hit:
            self.delivery, words = hit.measure(self._hit_ns)
            evidence += f"; {words}"
            hit.release()
        return evidence

    def heal(self) -> None:
        self._choice.release()
        for worker in self._choice.workers:
            worker.resume()

    def verify_healed(self, stop: Sleeper) -> str:
        self._wait_state("R", stop, within_s=5, message=f"{names(self._choice.workers)} did not resume")
        return each(self._choice.workers, lambda _worker: "its processes run again")

    def _wait_state(self, state: str, stop: Sleeper, *, within_s: float, message: str) -> None:
        # Compared as sets, because a worker without any process is in no state.
        wait_for(
            lambda: all(set(worker.states()) == {state} for worker in self._choice.workers),
            stop,
            within_s=within_s,
            message=message,
        )


class AddWorker:
    """Starts one more worker, and stops it with SIGTERM at the end. Not a failure, so it excuses nothing."""

    def __init__(self, worker: WorkerTarget) -> None:
        self._worker = worker
        self._started = False

    def prepare(self, _stop: Sleeper) -> str:
        return f"{self._worker.name} is added"

    def inject(self) -> None:
        self._worker.start()
        self._started = True

    def verify_injected(self, stop: Sleeper) -> str:
        name = self._worker.name
        wait_for(self._worker.serving, stop, within_s=SERVING_S, message=f"{name} was not ready")
        return self._worker.wait_ready(stop)

    def heal(self) -> None:
        if self._started:
            self._worker.terminate()

    def verify_healed(self, stop: Sleeper) -> str:
        worker = self._worker
        if not self._started:
            raise FaultNotVerified(f"{worker.name} was never started")
        message = f"{worker.name} did not end on {worker.stop_signal}"
        wait_for(lambda: not worker.alive(), stop, within_s=WARM_S, message=message)
        how = worker.exit_evidence()
        worker.kill()
        return f"{how}, {wait_gone(worker, stop)}"


class RemoveWorker:
    """SIGTERM to workers that are not restarted; other workers have to take over their notifications."""

    def __init__(self, choose: ChooseWorkers) -> None:
        self._choose = choose
        self._workers: Sequence[WorkerTarget] = ()

    def prepare(self, stop: Sleeper) -> str:
        self._workers = self._choose(stop).workers
        return f"{self._workers[0].stop_signal} to {names(self._workers)}, without a restart"

    def inject(self) -> None:
        for worker in self._workers:
            worker.terminate()

    def verify_injected(self, stop: Sleeper) -> str:
        evidence = []
        for worker in self._workers:
            message = f"{worker.name} did not end on {worker.stop_signal}"
            wait_for(worker.main_ended, stop, within_s=WARM_S, message=message)
            evidence.append(f"{worker.name}: {worker.exit_evidence()}")
            worker.kill()
        return "; ".join([*evidence, each(self._workers, lambda worker: wait_gone(worker, stop))])

    def heal(self) -> None:
        """Do nothing: a removed worker is not restarted."""

    def verify_healed(self, stop: Sleeper) -> str:
        return each(self._workers, lambda worker: wait_gone(worker, stop))


def wait_gone(worker: WorkerTarget, stop: Sleeper) -> str:
    """Wait until all processes of `worker` have ended. Return the evidence."""
    wait_for(lambda: worker.gone() is not None, stop, within_s=GONE_S, message=f"{worker.name} did not end")
    return worker.gone() or ""


def each(workers: Sequence[WorkerTarget], evidence: Callable[[WorkerTarget], str]) -> str:
    """Return the evidence of each worker, with its name."""
    return "; ".join(f"{worker.name}: {evidence(worker)}" for worker in workers)


def names(workers: Sequence[WorkerTarget]) -> str:
    return ",".join(worker.name for worker in workers)
