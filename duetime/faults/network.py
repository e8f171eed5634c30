"""Faults of connections: cut, refused or frozen by a proxy, and a partition of the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from duetime.faults.fault import FaultNotVerified, Sleeper, wait_for
from duetime.faults.mechanisms.network_namespace import NetworkLink
from duetime.faults.mechanisms.tcp_proxy import Command


class ProxyTarget(Protocol):
    """The interface that these faults need of a proxy in front of a service."""

    @property
    def name(self) -> str: ...

    def send(self, command: Command, /) -> int:
        """Execute `command`. Return the number of connections that were open before it."""

    def refused(self) -> bool:
        """Return True if a new connection is refused at once."""

    def answers(self) -> bool:
        """Return True if a new connection is served, within a fraction of a second."""


class Interruption:
    """Applies `command` to the connections of one service.

    cut: open connections are reset and new ones refused. refuse: new connections are refused. freeze: no connection
    transfers any data.
    """

    def __init__(self, proxy: ProxyTarget, command: Command) -> None:
        self._proxy = proxy
        self._command = command
        self._open_before = 0

    def prepare(self, _stop: Sleeper) -> str:
        return f"{self._command} the connections to the {self._proxy.name}"

    def inject(self) -> None:
        self._open_before = self._proxy.send(self._command)

    def verify_injected(self, stop: Sleeper) -> str:
        proxy, freezes = self._proxy, self._command == "freeze"
        interrupted = (lambda: not proxy.answers()) if freezes else proxy.refused
        wait_for(interrupted, stop, within_s=1, message=f"a probe of the {proxy.name} was not interrupted")
        if not self._open_before and self._command != "refuse":
            raise FaultNotVerified(f"no connection to the {proxy.name} was open")
        probe = "got no answer" if freezes else "was refused"
        return f"{self._open_before} connections were open; a probe {probe}"

    def heal(self) -> None:
        self._proxy.send("pass")

    def verify_healed(self, stop: Sleeper) -> str:
        wait_for(self._proxy.answers, stop, within_s=5, message=f"the {self._proxy.name} did not answer")
        return f"a probe of the {self._proxy.name} was answered"


class Partition:
    """A partition between one service and all its clients: packets are dropped in both directions.

    reachable: returns True if a new connection is served, within a fraction of a second.
    """

    def __init__(self, link: NetworkLink, reachable: Callable[[], bool]) -> None:
        self._link = link
        self._reachable = reachable

    def prepare(self, _stop: Sleeper) -> str:
        return f"the network link to {self._link.address} is taken down"

    def inject(self) -> None:
        self._link.down()

    def verify_injected(self, stop: Sleeper) -> str:
        link = self._link
        message = f"a probe of {link.address} was not interrupted"
        wait_for(lambda: link.is_down() and not self._reachable(), stop, within_s=2, message=message)
        return f"the network link to {link.address} is down, and a probe got no answer"

    def heal(self) -> None:
        self._link.up()

    def verify_healed(self, stop: Sleeper) -> str:
        wait_for(self._reachable, stop, within_s=5, message=f"{self._link.address} did not answer")
        return f"a probe of {self._link.address} was answered"
