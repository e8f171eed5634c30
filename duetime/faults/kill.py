"""SIGKILL of whole servers: no handler runs, no connection is closed in order, nothing is given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Waiting(Protocol):
    """How a wait is ended from outside."""

    def sleep(self, seconds: float) -> None: ...


class Killable(Protocol):
    """A server as this fault sees it."""

    @property
    def name(self) -> str: ...

    def kill(self) -> str:
        """End every process of it at once; return the evidence."""

    def start(self) -> None: ...

    def wait_ready(self, stop: Waiting, /) -> str:
        """Wait until it serves; return the evidence."""


def inject(servers: Sequence[Killable]) -> str:
    """Kill all of `servers`; return what proves that the fault bit."""
    return "; ".join(f"{server.name}: {server.kill()}" for server in servers)


def heal(servers: Sequence[Killable], stop: Waiting) -> str:
    """Start all of `servers` again, side by side; return what proves that each serves."""
    for server in servers:
        server.start()
    return "; ".join(f"{server.name}: {server.wait_ready(stop)}" for server in servers)
