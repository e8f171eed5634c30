"""The database server or the broker killed, and restarted with the data that it had stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from duetime.faults.fault import FaultNotVerified, LostCommits, Sleeper, wait_for

UP_WITHIN_S = 20.0


class ServiceTarget(Protocol):
    """The interface of a database server or broker that this fault needs."""

    @property
    def name(self) -> str: ...

    def kill(self) -> None:
        """Send SIGKILL to all its processes."""

    def ended(self) -> bool:
        """Return True if its main process has ended."""

    def gone(self) -> bool:
        """Return True if all its processes have ended."""

    def answers(self) -> bool:
        """Return True if a new connection is served."""

    def start(self) -> None: ...


class ServiceKill:
    """SIGKILL of a service and its child processes; data that it had not stored is lost."""

    def __init__(self, service: ServiceTarget) -> None:
        self._service = service

    def prepare(self, _stop: Sleeper) -> str:
        return f"SIGKILL to every process of the {self._service.name}"

    def inject(self) -> None:
        self._service.kill()

    def verify_injected(self, stop: Sleeper) -> str:
        service = self._service
        message = f"the {service.name} did not end"
        wait_for(lambda: service.gone() and not service.answers(), stop, within_s=5, message=message)
        return f"every process of the {service.name} has ended, and a probe was refused"

    def heal(self) -> None:
        if self._service.ended():
            self._service.start()

    def verify_healed(self, stop: Sleeper) -> str:
        # A started service may not accept connections yet.
        wait_for(self._service.answers, stop, within_s=UP_WITHIN_S, message=f"the {self._service.name} did not answer")
        return f"the {self._service.name} answers again"


class UnflushedKill(ServiceKill):
    """SIGKILL of a database that acknowledges commits before they are on disk.

    unflushed: returns how many bytes of its log are not on disk. flushed_after_s: the longest time until a commit is.
    """

    def __init__(self, service: ServiceTarget, unflushed: Callable[[], int], *, flushed_after_s: float) -> None:
        super().__init__(service)
        self._unflushed, self._flushed_after_s = unflushed, flushed_after_s
        self.lost: LostCommits | None = None

    def inject(self) -> None:
        size = self._unflushed()
        since_ns = time.monotonic_ns() - int(self._flushed_after_s * 1e9)
        super().inject()
        self.lost = LostCommits(size, since_ns) if size else None

    def verify_injected(self, stop: Sleeper) -> str:
        evidence = super().verify_injected(stop)
        if self.lost is None:
            raise FaultNotVerified("everything that the database had acknowledged was on disk")
        return f"{evidence}; {self.lost.size} bytes of its log were not on disk"
