"""Connections cut, refused or frozen by a proxy in the way, and a service cut off from everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from duetime.faults.fault import FaultNotVerified, Sleeper, wait_for
from duetime.faults.mechanisms.network_namespace import NetworkLink
from duetime.faults.mechanisms.tcp_proxy import Command


class Link(Protocol):
    """The way to a service as these faults see it."""

    @property
    def name(self) -> str: ...

    def send(self, word: Command) -> int:
        """Have the proxy do it; how many connections were open before."""

    def refused(self) -> bool:
        """Whether a new connection is refused at once."""

    def answers(self) -> bool:
        """Whether a new connection is served, within a fraction of a second."""


class Interruption:
    """What `word` does to the connections of one link.

    cut: those that are open are reset and new ones refused. refuse: only new ones. freeze: nothing moves on any.
    """

    def __init__(self, link: Link, word: Command) -> None:
        self._link = link
        self._word = word
        self._open = 0

    def prepare(self, _stop: Sleeper) -> str:
        return f"{self._word} the connections to the {self._link.name}"

    def inject(self) -> None:
        self._open = self._link.send(self._word)

    def verify_injected(self, stop: Sleeper) -> str:
        link = self._link
        bitten = link.refused if self._word != "freeze" else lambda: not link.answers()
        wait_for(bitten, stop, within_s=1, message=f"a probe of the {link.name} still got through")
        if not self._open and self._word != "refuse":
            raise FaultNotVerified(f"nobody was connected to the {link.name}")
        probe = "was refused" if self._word != "freeze" else "got no answer"
        return f"{self._open} connections were open; a probe {probe}"

    def heal(self) -> None:
        self._link.send("pass")

    def verify_healed(self, stop: Sleeper) -> str:
        wait_for(self._link.answers, stop, within_s=5, message=f"the {self._link.name} did not answer")
        return f"a probe of the {self._link.name} was answered"


class Partition:
    """A service cut off: packets to it and from it vanish, and nobody is told.

    reaches: whether a new connection is served, within a fraction of a second.
    """

    def __init__(self, wire: NetworkLink, reaches: Callable[[], bool]) -> None:
        self._wire = wire
        self._reaches = reaches

    def prepare(self, _stop: Sleeper) -> str:
        return f"the wire to {self._wire.address} is cut"

    def inject(self) -> None:
        self._wire.down()

    def verify_injected(self, stop: Sleeper) -> str:
        wire = self._wire
        wait_for(lambda: wire.is_down() and not self._reaches(), stop, within_s=2, message="a probe still got through")
        return f"no carrier on the wire to {wire.address}, and a probe got no answer"

    def heal(self) -> None:
        self._wire.up()

    def verify_healed(self, stop: Sleeper) -> str:
        wait_for(self._reaches, stop, within_s=5, message=f"{self._wire.address} did not answer")
        return f"a probe of {self._wire.address} was answered"
