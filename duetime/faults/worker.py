"""What happens to servers: killed, restarted one by one, paused, added and removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from duetime.faults.fault import FaultNotVerified, Sleeper, wait_for

GONE_S = 5.0
JOINED_S = 30.0
WARM_S = 10.0
"""How long a warm shutdown may take before it is ended by SIGKILL, as a service manager does it."""


class WorkerTarget(Protocol):
    """A server as these faults see it."""

    @property
    def name(self) -> str: ...

    def kill(self) -> None:
        """Begin to end every process of it, by SIGKILL."""

    def terminate(self) -> None:
        """Ask it to end in order."""

    def main_ended(self) -> bool: ...

    def alive(self) -> bool: ...

    def serving(self) -> bool:
        """Whether it lives and has said that it serves."""

    def gone(self) -> str | None:
        """The evidence that no process of it is left; None while there is one."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def states(self) -> Sequence[str]:
        """What /proc says of each of its processes: T is stopped."""

    def start(self) -> None: ...

    def wait_ready(self, stop: Sleeper, /) -> str:
        """Wait until it serves; return the evidence."""


ChooseWorkers = Callable[[Sleeper], tuple[Sequence[WorkerTarget], str]]
"""Chooses the servers when the time has come, and says what was special about the moment."""


class KillWorkers:
    """SIGKILL of whole servers: no handler runs, no connection is closed in order, nothing is given back."""

    def __init__(self, target: ChooseWorkers) -> None:
        self._target = target
        self._workers: Sequence[WorkerTarget] = ()

    def prepare(self, stop: Sleeper) -> str:
        self._workers, how = self._target(stop)
        return f"SIGKILL to the process group of {named(self._workers)}{how}"

    def inject(self) -> None:
        for worker in self._workers:
            worker.kill()

    def verify_injected(self, stop: Sleeper) -> str:
        return "; ".join(f"{worker.name}: {gone(worker, stop)}" for worker in self._workers)

    def heal(self) -> None:
        for worker in self._workers:
            # One that lives in spite of it all must not get a second self.
            if worker.main_ended():
                worker.start()

    def verify_healed(self, stop: Sleeper) -> str:
        return "; ".join(f"{worker.name}: {worker.wait_ready(stop)}" for worker in self._workers)


class Deploy:
    """SIGTERM to one server after another, each started again before the next is asked to end.

    The whole round happens while it is observed; there is nothing left to undo.
    """

    def __init__(self, target: ChooseWorkers) -> None:
        self._target = target
        self._workers: Sequence[WorkerTarget] = ()

    def prepare(self, stop: Sleeper) -> str:
        self._workers, _ = self._target(stop)
        return f"SIGTERM to {named(self._workers)}, one after another"

    def inject(self) -> None:
        self._workers[0].terminate()

    def verify_injected(self, stop: Sleeper) -> str:
        evidence = [self._restart(worker, stop, first=not number) for number, worker in enumerate(self._workers)]
        if hung := [what for what in evidence if "killed" in what]:
            raise FaultNotVerified("; ".join(hung))
        return "; ".join(evidence)

    def heal(self) -> None:
        """Nothing: every server was started again."""

    def verify_healed(self, stop: Sleeper) -> str:
        return "; ".join(f"{worker.name}: {worker.wait_ready(stop)}" for worker in self._workers)

    def _restart(self, worker: WorkerTarget, stop: Sleeper, *, first: bool) -> str:
        if not first:
            worker.terminate()
        how = "ended in order"
        try:
            wait_for(worker.main_ended, stop, within_s=WARM_S, message=f"{worker.name} did not end on SIGTERM")
        except FaultNotVerified:
            how = f"did not end within {WARM_S:g} s of SIGTERM and was killed"
        # Whatever is left of it goes with it, as when a service manager ends a control group.
        worker.kill()
        evidence = gone(worker, stop)
        worker.start()
        worker.wait_ready(stop)
        return f"{worker.name}: {how}, {evidence}"


class PauseWorkers:
    """SIGSTOP of every process of a server: it holds what it holds, and knows of nothing when it goes on."""

    def __init__(self, target: ChooseWorkers) -> None:
        self._target = target
        self._workers: Sequence[WorkerTarget] = ()

    def prepare(self, stop: Sleeper) -> str:
        self._workers, how = self._target(stop)
        return f"SIGSTOP to every process of {named(self._workers)}{how}"

    def inject(self) -> None:
        for worker in self._workers:
            worker.pause()

    def verify_injected(self, stop: Sleeper) -> str:
        # One that has no process cannot be seen to stand still.
        wait_for(
            lambda: all(set(worker.states()) == {"T"} for worker in self._workers),
            stop,
            within_s=2,
            message=f"{named(self._workers)} did not stop",
        )
        return "; ".join(f"{worker.name}: {len(worker.states())} processes in state T" for worker in self._workers)

    def heal(self) -> None:
        for worker in self._workers:
            worker.resume()

    def verify_healed(self, stop: Sleeper) -> str:
        wait_for(
            lambda: all(set(worker.states()) == {"R"} for worker in self._workers),
            stop,
            within_s=5,
            message=f"{named(self._workers)} did not go on",
        )
        return "; ".join(f"{worker.name}: its processes go on" for worker in self._workers)


class AddWorker:
    """One more server, which leaves in order when this is over: no misfortune, and it excuses nothing."""

    def __init__(self, worker: WorkerTarget) -> None:
        self._worker = worker

    def prepare(self, _stop: Sleeper) -> str:
        return f"{self._worker.name} is started beside the others"

    def inject(self) -> None:
        self._worker.start()

    def verify_injected(self, stop: Sleeper) -> str:
        name = self._worker.name
        wait_for(self._worker.serving, stop, within_s=JOINED_S, message=f"{name} did not serve")
        return self._worker.wait_ready(stop)

    def heal(self) -> None:
        self._worker.terminate()

    def verify_healed(self, stop: Sleeper) -> str:
        name = self._worker.name
        wait_for(lambda: not self._worker.alive(), stop, within_s=WARM_S, message=f"{name} did not end on SIGTERM")
        self._worker.kill()
        return gone(self._worker, stop)


class RemoveWorker:
    """SIGTERM to servers that are not to come back; what they leave behind somebody else has to take over."""

    def __init__(self, target: ChooseWorkers) -> None:
        self._target = target
        self._workers: Sequence[WorkerTarget] = ()

    def prepare(self, stop: Sleeper) -> str:
        self._workers, _ = self._target(stop)
        return f"SIGTERM to {named(self._workers)}, for good"

    def inject(self) -> None:
        for worker in self._workers:
            worker.terminate()

    def verify_injected(self, stop: Sleeper) -> str:
        for worker in self._workers:
            wait_for(worker.main_ended, stop, within_s=WARM_S, message=f"{worker.name} did not end on SIGTERM")
            worker.kill()
        return "; ".join(f"{worker.name}: {gone(worker, stop)}" for worker in self._workers)

    def heal(self) -> None:
        """Nothing: it was meant to go."""

    def verify_healed(self, stop: Sleeper) -> str:
        return "; ".join(f"{worker.name}: {gone(worker, stop)}" for worker in self._workers)


def gone(worker: WorkerTarget, stop: Sleeper) -> str:
    """Wait until nothing is left of `server`; the evidence."""
    wait_for(lambda: worker.gone() is not None, stop, within_s=GONE_S, message=f"{worker.name} did not go")
    return worker.gone() or ""


def named(workers: Sequence[WorkerTarget]) -> str:
    return ",".join(worker.name for worker in workers)
