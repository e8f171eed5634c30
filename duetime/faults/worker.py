"""What happens to servers: killed, restarted one by one, paused, added and removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from duetime.faults.fault import NotSeen, Waiting, wait_for

GONE_S = 5.0
JOINED_S = 30.0
WARM_S = 10.0
"""How long a warm shutdown may take before it is ended by SIGKILL, as a service manager does it."""


class Hurtable(Protocol):
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

    def wait_ready(self, stop: Waiting, /) -> str:
        """Wait until it serves; return the evidence."""


Target = Callable[[Waiting], tuple[Sequence[Hurtable], str]]
"""Chooses the servers when the time has come, and says what was special about the moment."""


class Kill:
    """SIGKILL of whole servers: no handler runs, no connection is closed in order, nothing is given back."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._servers: Sequence[Hurtable] = ()

    def aim(self, stop: Waiting) -> str:
        self._servers, how = self._target(stop)
        return f"SIGKILL to the process group of {named(self._servers)}{how}"

    def inject(self) -> None:
        for server in self._servers:
            server.kill()

    def observe(self, stop: Waiting) -> str:
        return "; ".join(f"{server.name}: {gone(server, stop)}" for server in self._servers)

    def heal(self) -> None:
        for server in self._servers:
            # One that lives in spite of it all must not get a second self.
            if server.main_ended():
                server.start()

    def healed(self, stop: Waiting) -> str:
        return "; ".join(f"{server.name}: {server.wait_ready(stop)}" for server in self._servers)


class Deploy:
    """SIGTERM to one server after another, each started again before the next is asked to end.

    The whole round happens while it is observed; there is nothing left to undo.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._servers: Sequence[Hurtable] = ()

    def aim(self, stop: Waiting) -> str:
        self._servers, _ = self._target(stop)
        return f"SIGTERM to {named(self._servers)}, one after another"

    def inject(self) -> None:
        self._servers[0].terminate()

    def observe(self, stop: Waiting) -> str:
        evidence = [self._restart(server, stop, first=not number) for number, server in enumerate(self._servers)]
        if hung := [what for what in evidence if "killed" in what]:
            raise NotSeen("; ".join(hung))
        return "; ".join(evidence)

    def heal(self) -> None:
        """Nothing: every server was started again."""

    def healed(self, stop: Waiting) -> str:
        return "; ".join(f"{server.name}: {server.wait_ready(stop)}" for server in self._servers)

    def _restart(self, server: Hurtable, stop: Waiting, *, first: bool) -> str:
        if not first:
            server.terminate()
        how = "ended in order"
        try:
            wait_for(server.main_ended, stop, within_s=WARM_S, else_say=f"{server.name} did not end on SIGTERM")
        except NotSeen:
            how = f"did not end within {WARM_S:g} s of SIGTERM and was killed"
        # Whatever is left of it goes with it, as when a service manager ends a control group.
        server.kill()
        evidence = gone(server, stop)
        server.start()
        server.wait_ready(stop)
        return f"{server.name}: {how}, {evidence}"


class Pause:
    """SIGSTOP of every process of a server: it holds what it holds, and knows of nothing when it goes on."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._servers: Sequence[Hurtable] = ()

    def aim(self, stop: Waiting) -> str:
        self._servers, how = self._target(stop)
        return f"SIGSTOP to every process of {named(self._servers)}{how}"

    def inject(self) -> None:
        for server in self._servers:
            server.pause()

    def observe(self, stop: Waiting) -> str:
        # One that has no process cannot be seen to stand still.
        wait_for(
            lambda: all(set(server.states()) == {"T"} for server in self._servers),
            stop,
            within_s=2,
            else_say=f"{named(self._servers)} did not stop",
        )
        return "; ".join(f"{server.name}: {len(server.states())} processes in state T" for server in self._servers)

    def heal(self) -> None:
        for server in self._servers:
            server.resume()

    def healed(self, stop: Waiting) -> str:
        wait_for(
            lambda: all(set(server.states()) == {"R"} for server in self._servers),
            stop,
            within_s=5,
            else_say=f"{named(self._servers)} did not go on",
        )
        return "; ".join(f"{server.name}: its processes go on" for server in self._servers)


class Join:
    """One more server, which leaves in order when this is over: no misfortune, and it excuses nothing."""

    def __init__(self, server: Hurtable) -> None:
        self._server = server

    def aim(self, _stop: Waiting) -> str:
        return f"{self._server.name} is started beside the others"

    def inject(self) -> None:
        self._server.start()

    def observe(self, stop: Waiting) -> str:
        name = self._server.name
        wait_for(self._server.serving, stop, within_s=JOINED_S, else_say=f"{name} did not serve")
        return self._server.wait_ready(stop)

    def heal(self) -> None:
        self._server.terminate()

    def healed(self, stop: Waiting) -> str:
        name = self._server.name
        wait_for(lambda: not self._server.alive(), stop, within_s=WARM_S, else_say=f"{name} did not end on SIGTERM")
        self._server.kill()
        return gone(self._server, stop)


class Leave:
    """SIGTERM to servers that are not to come back; what they leave behind somebody else has to take over."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._servers: Sequence[Hurtable] = ()

    def aim(self, stop: Waiting) -> str:
        self._servers, _ = self._target(stop)
        return f"SIGTERM to {named(self._servers)}, for good"

    def inject(self) -> None:
        for server in self._servers:
            server.terminate()

    def observe(self, stop: Waiting) -> str:
        for server in self._servers:
            wait_for(server.main_ended, stop, within_s=WARM_S, else_say=f"{server.name} did not end on SIGTERM")
            server.kill()
        return "; ".join(f"{server.name}: {gone(server, stop)}" for server in self._servers)

    def heal(self) -> None:
        """Nothing: it was meant to go."""

    def healed(self, stop: Waiting) -> str:
        return "; ".join(f"{server.name}: {gone(server, stop)}" for server in self._servers)


def gone(server: Hurtable, stop: Waiting) -> str:
    """Wait until nothing is left of `server`; the evidence."""
    wait_for(lambda: server.gone() is not None, stop, within_s=GONE_S, else_say=f"{server.name} did not go")
    return server.gone() or ""


def named(servers: Sequence[Hurtable]) -> str:
    return ",".join(server.name for server in servers)
