"""The primary of a replicated database dies, and its standby takes over."""

from __future__ import annotations

import time
from typing import Protocol

from duetime.faults.fault import FaultNotVerified, LostCommits, Sleeper, wait_for

REPLICATION_STOPPED_S = 1.0
"""Before the kill: long enough for commits that only the primary has."""
SERVES_WITHIN_S = 20.0


class FailoverTarget(Protocol):
    """The interface of a replicated database that this fault needs. Positions in the log are numbers of bytes."""

    def acknowledged_lsn(self) -> int: ...

    def confirmed_lsn(self) -> int: ...

    def replicated_lsn(self) -> int: ...

    def suspend_replication(self) -> None: ...

    def kill_primary(self) -> None: ...

    def primary_gone(self) -> bool: ...

    def promote(self) -> None: ...

    def serves_writes(self) -> bool: ...

    def start_old_primary(self) -> None: ...

    def old_primary_serves(self) -> bool: ...


class Failover:
    """SIGKILL of the primary, then a promotion of the standby.

    synchronous: a commit waits for the standby. Otherwise replication is stopped a second before the kill, so that some
    acknowledged commits are lost every time, and not by chance.
    """

    def __init__(self, database: FailoverTarget, *, synchronous: bool) -> None:
        self._database, self._synchronous = database, synchronous
        self._suspended_ns = 0
        self.lost: LostCommits | None = None

    def prepare(self, _stop: Sleeper) -> str:
        how = "" if self._synchronous else f", {REPLICATION_STOPPED_S:g} s after replication to the standby was stopped"
        return f"SIGKILL to every process of the primary{how}"

    def inject(self) -> None:
        if not self._synchronous:
            self._suspended_ns = time.monotonic_ns()
            self._database.suspend_replication()

    def verify_injected(self, stop: Sleeper) -> str:
        database = self._database
        if not self._synchronous:
            stop.sleep(REPLICATION_STOPPED_S)
        acknowledged = database.confirmed_lsn() if self._synchronous else database.acknowledged_lsn()
        database.kill_primary()
        wait_for(database.primary_gone, stop, within_s=5, message="the primary did not end")
        lost = acknowledged - database.replicated_lsn()
        if self._synchronous:
            if lost > 0:
                raise FaultNotVerified(f"the standby lacks {lost} bytes of the log that it had confirmed")
            return f"every process of the primary has ended; the standby has the log up to byte {acknowledged}"
        if lost <= 0:
            raise FaultNotVerified("nothing was acknowledged that the standby does not have")
        self.lost = LostCommits(lost, self._suspended_ns)
        return (
            f"every process of the primary has ended; it had acknowledged the log up to byte {acknowledged}, of which "
            f"the standby lacks {lost} bytes"
        )

    def heal(self) -> None:
        if self._database.primary_gone():
            self._database.promote()

    def verify_healed(self, stop: Sleeper) -> str:
        message = "the standby did not become the primary"
        wait_for(self._database.serves_writes, stop, within_s=SERVES_WITHIN_S, message=message)
        return "the standby is the primary now, and serves writes"


class OldPrimaryReturns:
    """After a failover the old primary is started again, and does not know that it is no longer the primary.

    Clients name it first, so whoever connects meanwhile gets it. Healed as an administrator would: it is killed.
    """

    def __init__(self, database: FailoverTarget) -> None:
        self._database = database

    def prepare(self, stop: Sleeper) -> str:
        wait_for(self._database.serves_writes, stop, within_s=SERVES_WITHIN_S, message="there was no failover before")
        return "the old primary is started again, beside the new one"

    def inject(self) -> None:
        self._database.start_old_primary()

    def verify_injected(self, stop: Sleeper) -> str:
        database = self._database
        wait_for(
            lambda: database.old_primary_serves() and database.serves_writes(),
            stop, within_s=SERVES_WITHIN_S, message="the old primary did not answer",
        )  # fmt: skip
        return "two servers answer, and neither is a standby"

    def heal(self) -> None:
        self._database.kill_primary()

    def verify_healed(self, stop: Sleeper) -> str:
        wait_for(self._database.primary_gone, stop, within_s=5, message="the old primary did not end")
        return "every process of the old primary has ended"
