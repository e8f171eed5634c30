"""The database server or the broker killed, and restarted with the data that it had stored."""

from __future__ import annotations

from typing import Protocol

from duetime.faults.fault import Sleeper, wait_for

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
