"""The database or the broker killed, and started again on what it had kept."""

from __future__ import annotations

from typing import Protocol

from duetime.faults.fault import Sleeper, wait_for

UP_WITHIN_S = 20.0


class Restartable(Protocol):
    """A database or a broker as this fault sees it."""

    @property
    def name(self) -> str: ...

    def kill(self) -> None:
        """SIGKILL to every process of it."""

    def ended(self) -> bool:
        """Whether its main process is over."""

    def gone(self) -> bool:
        """Whether nothing of it is left."""

    def answers(self) -> bool:
        """Whether a new connection is served."""

    def start(self) -> None: ...


class ServiceKill:
    """SIGKILL of the whole server, children included; whatever it had not kept is gone."""

    def __init__(self, service: Restartable) -> None:
        self._service = service

    def prepare(self, _stop: Sleeper) -> str:
        return f"SIGKILL to every process of the {self._service.name}"

    def inject(self) -> None:
        self._service.kill()

    def verify_injected(self, stop: Sleeper) -> str:
        service = self._service
        wait_for(
            lambda: service.gone() and not service.answers(),
            stop,
            within_s=5,
            message=f"the {service.name} did not go",
        )
        return f"no process of the {service.name} is left, and a probe was refused"

    def heal(self) -> None:
        if self._service.ended():
            self._service.start()

    def verify_healed(self, stop: Sleeper) -> str:
        # Starting up is not up.
        wait_for(self._service.answers, stop, within_s=UP_WITHIN_S, message=f"the {self._service.name} did not answer")
        return f"the {self._service.name} answers again"
