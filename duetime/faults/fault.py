"""What every fault is: something that is done, seen to bite, undone, and seen to be over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

FaultKind = Literal[
    "kill",
    "deploy",
    "pause",
    "worker_added",
    "worker_removed",
    "database_kill",
    "broker_kill",
    "cut",
    "refuse",
    "freeze",
    "partition",
    "clock",
    "gateway_slow",
    "gateway_refuse",
    "gateway_hang",
    "gateway_lose_answer",
    "client_kill",
    "old_transaction",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKindInfo:
    """How a kind of fault is named and coloured in every picture, and how long recovering from it may take.

    recovery_budget_s: counted from when it is seen to be over; the mechanism that needs the time is named beside it.
    excuses: whether lateness under it is the fault's and not the design's.
    """

    title: str
    colour: str
    recovery_budget_s: float
    excuses: bool = True


RECONNECT_S = 12.0
"""After a cut Celery's worker tries again after 2, 4 and 6 s; one that ended is started again and takes 5 s."""

FAULT_KINDS: Final[Mapping[FaultKind, FaultKindInfo]] = {
    "kill": FaultKindInfo(title="servers killed", colour="#d62728", recovery_budget_s=1.0),
    "deploy": FaultKindInfo(title="servers restarted one by one", colour="#ff7f0e", recovery_budget_s=1.0),
    # Timers and leases that ran out meanwhile run one after another.
    "pause": FaultKindInfo(title="server paused", colour="#bcbd22", recovery_budget_s=2.0),
    # Nothing went wrong; that the picture shows when it came and went is all.
    "worker_added": FaultKindInfo(title="server added", colour="#2e8b57", recovery_budget_s=1.0, excuses=False),
    # What it leaves behind somebody else has to be told of.
    "worker_removed": FaultKindInfo(title="server removed", colour="#556b2f", recovery_budget_s=1.0),
    # Connections are opened anew every half second to second.
    "database_kill": FaultKindInfo(title="database killed", colour="#9467bd", recovery_budget_s=3.0),
    "broker_kill": FaultKindInfo(title="broker killed", colour="#8c564b", recovery_budget_s=RECONNECT_S),
    "cut": FaultKindInfo(title="connections cut", colour="#e377c2", recovery_budget_s=RECONNECT_S),
    "refuse": FaultKindInfo(title="connections refused", colour="#f7b6d2", recovery_budget_s=RECONNECT_S),
    "freeze": FaultKindInfo(title="connections frozen", colour="#c5b0d5", recovery_budget_s=RECONNECT_S),
    "partition": FaultKindInfo(title="network partitioned", colour="#c49c94", recovery_budget_s=RECONNECT_S),
    "clock": FaultKindInfo(title="clock wrong", colour="#17becf", recovery_budget_s=1.0),
    # A refused delivery is tried again after 1, 2 and 4 s.
    "gateway_slow": FaultKindInfo(title="gateway slow", colour="#1f77b4", recovery_budget_s=5.0),
    "gateway_refuse": FaultKindInfo(title="gateway refuses", colour="#1f77b4", recovery_budget_s=5.0),
    "gateway_hang": FaultKindInfo(title="gateway hangs", colour="#1f77b4", recovery_budget_s=5.0),
    "gateway_lose_answer": FaultKindInfo(title="gateway's answers lost", colour="#1f77b4", recovery_budget_s=5.0),
    "client_kill": FaultKindInfo(title="application killed", colour="#2ca02c", recovery_budget_s=1.0),
    # Everything works meanwhile; who gets slow by it is slow.
    "old_transaction": FaultKindInfo(
        title="transaction forgotten", colour="#7f7f7f", recovery_budget_s=1.0, excuses=False
    ),
}


class FaultNotVerified(Exception):
    """What a fault should have done was not observed in time; the run proves nothing about it."""


class Sleeper(Protocol):
    """How a wait is ended from outside."""

    def sleep(self, seconds: float) -> None: ...


class Fault(Protocol):
    """One thing gone wrong. The four steps are called in this order; ``heal`` whatever happened before."""

    def prepare(self, stop: Sleeper) -> str:
        """Wait for the moment if it matters; say what is going to be done, to whom.

        Raises:
            FaultNotVerified: the moment did not come.
        """

    def inject(self) -> None:
        """Do it, at once."""

    def verify_injected(self, stop: Sleeper) -> str:
        """The evidence that it bites.

        Raises:
            FaultNotVerified: it does not.
        """

    def heal(self) -> None:
        """Undo it, or begin to; safe when nothing was done."""

    def verify_healed(self, stop: Sleeper) -> str:
        """Wait until a probe shows that it is over; return the evidence.

        Raises:
            FaultNotVerified: it did not heal in time.
        """


def wait_for(condition: Callable[[], bool], stop: Sleeper, *, within_s: float, message: str) -> None:
    """Wait until `condition` holds.

    Raises:
        FaultNotVerified: it did not within `within_s` seconds; with `message`.
    """
    give_up_at = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise FaultNotVerified(f"{message} within {within_s:g} s")
        stop.sleep(0.005)
