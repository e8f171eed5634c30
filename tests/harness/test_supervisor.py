"""Who ended by itself is waited for, as long as it is meant to be up."""

from __future__ import annotations

import time

import pytest

from duetime.faults.fault import FaultNotVerified
from duetime.harness.processes.supervisor import RESTART_AFTER_S, Supervisor


class Fragile:
    """A server that ends by itself once, and comes back only if `returns`."""

    def __init__(self, name: str, *, returns: bool) -> None:
        self.name = name
        self.wanted = True
        self._returns = returns
        self._ended = True

    def restart_if_crashed(self) -> int | None:
        if not self._ended or not self.wanted:
            return None
        self._ended = False
        return 1

    def serving(self) -> bool:
        return self._returns


class Waits:
    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def watched(*workers: Fragile) -> Supervisor:
    supervisor = Supervisor(workers)  # type: ignore[arg-type]  # as much of a server as it looks at
    supervisor.start()
    give_up_at = time.monotonic() + 10 * RESTART_AFTER_S
    while len(supervisor.restarts) < len(workers):
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    supervisor.stop()
    return supervisor


def test_who_came_back_is_named() -> None:
    assert "a had ended by itself" in watched(Fragile("a", returns=True)).wait_settled(Waits(), within_s=0.1)


def test_who_does_not_come_back_is_not_settled() -> None:
    with pytest.raises(FaultNotVerified, match="a, started again"):
        watched(Fragile("a", returns=False)).wait_settled(Waits(), within_s=0.1)


def test_who_was_taken_away_since_is_not_waited_for() -> None:
    gone = Fragile("a", returns=False)
    supervisor = watched(gone)
    gone.wanted = False

    assert supervisor.wait_settled(Waits(), within_s=0.1) == ""
