"""The connection pooler between every process and the database killed, and started again."""

from __future__ import annotations

from typing import Protocol

from duetime.faults.fault import FaultNotVerified, Sleeper, wait_for
from duetime.faults.service import ServiceKill, ServiceTarget

CONNECTED_WITHIN_S = 5.0


class PoolerTarget(ServiceTarget, Protocol):
    """The interface of a pooler that this fault needs."""

    def open_clients(self) -> int:
        """Return how many connections of clients are open."""


class PoolerKill(ServiceKill):
    """SIGKILL of the pooler: each connection through it ends, and with it PostgreSQL's transaction, if one is open."""

    def __init__(self, pooler: PoolerTarget) -> None:
        super().__init__(pooler)
        self._pooler = pooler
        self._open = 0

    def prepare(self, stop: Sleeper) -> str:
        message = "no client connected to the pooler"
        wait_for(lambda: self._pooler.open_clients() > 0, stop, within_s=CONNECTED_WITHIN_S, message=message)
        return super().prepare(stop)

    def inject(self) -> None:
        self._open = self._pooler.open_clients()
        super().inject()

    def verify_injected(self, stop: Sleeper) -> str:
        evidence = super().verify_injected(stop)
        if not self._open:
            raise FaultNotVerified("no client was connected through the pooler when it was killed")
        return f"{evidence}; {self._open} client connections through it were open"
