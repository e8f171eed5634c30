"""The primary of a replicated broker dies, and Sentinel lets its replica take over."""

from __future__ import annotations

import time
from typing import Protocol

from duetime.faults.fault import FaultNotVerified, LostCommits, Sleeper, wait_for

REPLICATION_CUT_S = 1.0
"""Before the kill: on one machine a kill alone loses nothing, because what lies in a socket's buffer still arrives."""
TAKEN_OVER_WITHIN_S = 20.0
"""Sentinel needs 2 to 3 s, and 6 s more after an election without a winner."""


class BrokerFailoverTarget(Protocol):
    """The interface of a replicated broker that this fault needs. Offsets in its stream are numbers of bytes."""

    def acknowledged_offset(self) -> int: ...

    def replicated_offset(self) -> int: ...

    def cut_replication(self) -> None: ...

    def replica_is_cut(self) -> bool: ...

    def refusal(self) -> str | None: ...

    def kill_primary(self) -> None: ...

    def primary_gone(self) -> bool: ...

    def taken_over(self) -> bool: ...

    def bring_back(self) -> None: ...

    def serves_writes(self) -> bool: ...


class BrokerFailover:
    """The replica is cut off, and the primary killed a second later; Sentinel lets the replica take over by itself.

    refuses: the primary refuses to write without a replica. Otherwise what it acknowledges in that second is lost.
    Healed when the old primary is a replica of the new one.
    """

    def __init__(self, broker: BrokerFailoverTarget, *, refuses: bool) -> None:
        self._broker, self._refuses = broker, refuses
        self._cut_ns = 0
        self.lost: LostCommits | None = None

    def prepare(self, _stop: Sleeper) -> str:
        return f"SIGKILL to the broker's primary, {REPLICATION_CUT_S:g} s after its replica was cut off"

    def inject(self) -> None:
        self._cut_ns = time.monotonic_ns()
        self._broker.cut_replication()

    def verify_injected(self, stop: Sleeper) -> str:
        broker = self._broker
        stop.sleep(REPLICATION_CUT_S)
        refusal = broker.refusal()
        if self._refuses and refusal is None:
            raise FaultNotVerified("the primary accepts writes, as if it had a replica")
        acknowledged = broker.acknowledged_offset()
        broker.kill_primary()
        wait_for(broker.primary_gone, stop, within_s=5, message="the primary did not end")
        # Now it has also read what was on its way.
        wait_for(broker.replica_is_cut, stop, within_s=5, message="the replica still had a primary")
        size = acknowledged - broker.replicated_offset()
        if size <= 0 and not self._refuses:
            raise FaultNotVerified("nothing was acknowledged that the replica does not have")
        # Also of a primary that refuses: until it noticed, and messages to subscribers, which are no writes.
        self.lost = LostCommits(size, self._cut_ns) if size > 0 else None
        refused = f"; before, it refused a write: {refusal}" if refusal else ""
        return (
            f"the primary has ended{refused}; it had acknowledged changes up to byte {acknowledged}, of which the "
            f"replica lacks {max(size, 0)} bytes"
        )

    def heal(self) -> None:
        self._broker.bring_back()

    def verify_healed(self, stop: Sleeper) -> str:
        broker = self._broker
        if broker.primary_gone():
            message = "Sentinel did not let the replica take over"
            wait_for(broker.taken_over, stop, within_s=TAKEN_OVER_WITHIN_S, message=message)
            broker.bring_back()
        wait_for(
            broker.serves_writes, stop, within_s=TAKEN_OVER_WITHIN_S, every_s=0.05,
            message="the new primary did not serve writes, with the old one as its replica",
        )  # fmt: skip
        return "the replica is the primary now, with the old primary as its replica, and serves writes"
