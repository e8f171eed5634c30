"""Faults of hosts: one vanishes, is cut from a service, is far from the database, or is slow."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from duetime.faults.fault import FaultNotVerified, Sleeper, wait_for
from duetime.faults.mechanisms.host_network import FarHost, Host
from duetime.faults.worker import ChooseWorkers, KillWorkers

REACHED_WITHIN_S = 5.0
LEAST_STOPPED = 0.7
"""A slow host is stopped for nine tenths of the time; less is measured if the machine is busy."""
RUNS_S, STOPS_S = 0.02, 0.18
ROUNDS = 5
"""Before the processes are listed again, which costs as much as a round."""
SAMPLE_EVERY_S = 0.01
SAMPLES = 100


class HostVanishes(KillWorkers):
    """The host of a worker loses its network and then its power: no connection is closed, no peer is told anything.

    host_of: the host of a worker, by the worker's name. service: a host that it reaches before and afterwards.
    """

    def __init__(self, choose: ChooseWorkers, host_of: Callable[[str], Host], service: Host) -> None:
        super().__init__(choose)
        self._host_of, self._service = host_of, service
        self._hosts: Sequence[Host] = ()

    def prepare(self, stop: Sleeper) -> str:
        killed = super().prepare(stop)
        self._hosts = [self._host_of(worker.name) for worker in self._choice.workers]
        return f"the network link of its host is taken down, then {killed}"

    def inject(self) -> None:
        for host in self._hosts:
            host.down()
        super().inject()

    def verify_injected(self, stop: Sleeper) -> str:
        evidence = super().verify_injected(stop)
        for host in self._hosts:
            if host.reaches(self._service) or self._service.reaches(host):
                raise FaultNotVerified(f"a packet between the hosts of {host.name} and {self._service.name} arrived")
        return f"{evidence}; no packet from or to its host arrives"

    def heal(self) -> None:
        for host in self._hosts:
            host.up()
        super().heal()

    def verify_healed(self, stop: Sleeper) -> str:
        for host in self._hosts:
            wait_reached(host, self._service, stop)
        return super().verify_healed(stop)


class HostCut:
    """Packets between the host of a worker and that of one service are dropped; both reach every other host.

    answers_only: only those from the service to the worker.
    """

    def __init__(self, host: Host, service: Host, other: Host, *, answers_only: bool) -> None:
        """other: the host of another service, which must stay reachable."""
        self._host, self._service, self._other = host, service, other
        self._answers_only = answers_only

    def prepare(self, _stop: Sleeper) -> str:
        host, service = self._host.name, self._service.name
        if self._answers_only:
            return f"what the host of the {service} sends to the host of {host} is dropped"
        return f"packets between the hosts of {host} and of the {service} are dropped"

    def inject(self) -> None:
        self._service.drop_to(self._host)
        if not self._answers_only:
            self._host.drop_to(self._service)

    def verify_injected(self, _stop: Sleeper) -> str:
        host, service, other = self._host, self._service, self._other
        if service.reaches(host):
            raise FaultNotVerified(f"a packet from the host of the {service.name} reached {host.name}")
        if host.reaches(service) is not self._answers_only:
            arrived = "did not reach" if self._answers_only else "reached"
            raise FaultNotVerified(f"a packet from the host of {host.name} {arrived} the {service.name}")
        if not (host.reaches(other) and other.reaches(host)):
            raise FaultNotVerified(f"the hosts of {host.name} and of the {other.name} do not reach each other")
        arrives = "arrives, and none comes back" if self._answers_only else "is lost, and so is one that is sent to it"
        return f"a packet from {host.name} to the {service.name} {arrives}; the {other.name} is reached both ways"

    def heal(self) -> None:
        self._service.pass_to(self._host)
        self._host.pass_to(self._service)

    def verify_healed(self, stop: Sleeper) -> str:
        return wait_reached(self._host, self._service, stop)


class FarDatabase:
    """Packets from and to the database's host arrive later, by `seconds` each way. host: from where it is measured."""

    def __init__(self, database: FarHost, host: Host, seconds: float) -> None:
        self._database, self._host, self._seconds = database, host, seconds

    def prepare(self, _stop: Sleeper) -> str:
        return f"packets from and to the host of the database arrive {self._seconds * 1000:.0f} ms later"

    def inject(self) -> None:
        self._database.delay(self._seconds)

    def verify_injected(self, _stop: Sleeper) -> str:
        there, back = self._one_way_s()
        if min(there, back) < self._seconds:
            raise FaultNotVerified(f"a packet took {there * 1000:.1f} ms there and {back * 1000:.1f} ms back")
        return f"a packet took {there * 1000:.1f} ms to the database and {back * 1000:.1f} ms back"

    def heal(self) -> None:
        self._database.delay(0.0)

    def verify_healed(self, stop: Sleeper) -> str:
        message = "packets still took as long"
        wait_for(lambda: max(self._one_way_s()) < self._seconds, stop, within_s=REACHED_WITHIN_S, message=message)
        return "packets take no longer than before"

    def _one_way_s(self) -> tuple[float, float]:
        within_s = self._seconds + REACHED_WITHIN_S
        there = self._host.one_way_s(self._database, within_s=within_s)
        back = self._database.one_way_s(self._host, within_s=within_s)
        if there is None or back is None:
            raise FaultNotVerified("a packet between the database and a worker did not arrive")
        return there, back


class SlowHost:
    """Every process of a worker runs for 20 ms of each 200 ms, as on a host that others keep busy.

    worker: its name. pids: returns its processes.
    """

    def __init__(self, worker: str, pids: Callable[[], Sequence[int]]) -> None:
        self._worker, self._pids = worker, pids
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._throttle, daemon=True)

    def prepare(self, _stop: Sleeper) -> str:
        return f"{self._worker} runs for {RUNS_S * 1000:.0f} ms and is stopped for {STOPS_S * 1000:.0f} ms, in turn"

    def inject(self) -> None:
        self._thread.start()

    def verify_injected(self, stop: Sleeper) -> str:
        pids, stopped = self._pids(), 0
        for _ in range(SAMPLES):
            stopped += states(pids) == {"T"}
            stop.sleep(SAMPLE_EVERY_S)
        if stopped < LEAST_STOPPED * SAMPLES:
            raise FaultNotVerified(f"{self._worker} was stopped in {stopped} of {SAMPLES} samples")
        return f"every process of {self._worker} was stopped in {stopped} of {SAMPLES} samples"

    def heal(self) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def verify_healed(self, stop: Sleeper) -> str:
        message = f"a process of {self._worker} stayed stopped"
        wait_for(lambda: "T" not in states(self._pids()), stop, within_s=5, message=message)
        return f"no process of {self._worker} is stopped"

    def _throttle(self) -> None:
        # A worker that has ended for good ends this, too, because another process may get its pid.
        while not self._over.is_set() and (pids := self._pids()):
            for _ in range(ROUNDS):
                send(signal.SIGSTOP, pids)
                self._over.wait(STOPS_S)
                send(signal.SIGCONT, pids)
                if self._over.wait(RUNS_S):
                    break


def send(number: signal.Signals, pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def states(pids: Sequence[int]) -> set[str]:
    """Return the states of the processes according to /proc: T is stopped."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            found.add(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
    return found


def wait_reached(host: Host, service: Host, stop: Sleeper) -> str:
    """Wait until packets arrive in both directions; return the evidence."""
    message = f"the hosts of {host.name} and of the {service.name} did not reach each other"
    wait_for(lambda: host.reaches(service) and service.reaches(host), stop, within_s=REACHED_WITHIN_S, message=message)
    return f"packets between the hosts of {host.name} and of the {service.name} arrive both ways"
