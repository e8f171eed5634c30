"""Faults of the application: a client crashes right after its commit, or leaves a transaction open."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import psycopg

from duetime.faults.fault import FaultNotVerified, Sleeper, wait_for
from duetime.runtime.failpoints import Failpoint, disarm, hits


class ClientTarget(Protocol):
    """The interface of a client that these faults need."""

    @property
    def name(self) -> str: ...

    @property
    def failpoints(self) -> Path: ...

    def exit_status(self) -> int | None:
        """Return the exit status of its process; None while it runs."""

    def start_successor(self) -> None:
        """Start another process, which first finds out whether the interrupted operation was committed."""

    def wait_ready(self, stop: Sleeper, /) -> None: ...


class ClientKill:
    """SIGKILL of a client's process right after the database confirmed its commit."""

    def __init__(self, client: ClientTarget, *, within_s: float) -> None:
        self._client = client
        self._within_s = within_s

    def prepare(self, _stop: Sleeper) -> str:
        return f"SIGKILL to {self._client.name} right after its next commit"

    def inject(self) -> None:
        Failpoint(point="after_commit", action="kill").arm(self._client.failpoints)

    def verify_injected(self, stop: Sleeper) -> str:
        self._wait_killed(stop, within_s=self._within_s)
        killed_at = hits(self._client.failpoints)
        if not killed_at:
            raise FaultNotVerified(f"{self._client.name} died, but not at the failpoint")
        return f"pid {killed_at[-1]['pid']} reached the failpoint {killed_at[-1]['point']} and ended with status -9"

    def heal(self) -> None:
        disarm(self._client.failpoints)

    def verify_healed(self, stop: Sleeper) -> str:
        client = self._client
        # After disarming, the process is dead, about to die, or unharmed.
        if not hits(client.failpoints):
            raise FaultNotVerified(f"{client.name} was not killed, so it needs no successor")
        self._wait_killed(stop, within_s=2)
        client.start_successor()
        client.wait_ready(stop)
        return f"a new process continues {client.name}"

    def _wait_killed(self, stop: Sleeper, *, within_s: float) -> None:
        client = self._client
        wait_for(lambda: client.exit_status() == -9, stop, within_s=within_s, message=f"{client.name} did not die")


class OldTransaction:
    """A transaction left open with a snapshot: vacuum cannot remove rows that are deleted after it began."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection | None = None
        self._pid = 0

    def prepare(self, _stop: Sleeper) -> str:
        return "a transaction with a snapshot is opened and left open"

    def inject(self) -> None:
        self._connection = psycopg.connect(self._url)
        self._pid = self._connection.info.backend_pid
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.execute("SELECT count(*) FROM events")

    def verify_injected(self, stop: Sleeper) -> str:
        wait_for(lambda: bool(self._snapshot_held()), stop, within_s=2, message="no snapshot was held")
        return self._snapshot_held() or ""

    def heal(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def verify_healed(self, stop: Sleeper) -> str:
        with psycopg.connect(self._url, autocommit=True) as probe:
            # From the statistics that autovacuum uses, which are written within a second.
            dead = probe.execute("SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables").fetchone()
        wait_for(lambda: not self._snapshot_held(), stop, within_s=5, message="the snapshot was still held")
        return f"the snapshot was released; {dead[0] if dead else 0} dead rows had accumulated in all tables"

    def _snapshot_held(self) -> str | None:
        """Return the evidence that the transaction holds a snapshot; None if it does not."""
        with psycopg.connect(self._url, autocommit=True) as probe:
            row = probe.execute(
                "SELECT pid, backend_xmin::text FROM pg_stat_activity WHERE pid = %s "
                "AND state = 'idle in transaction' AND backend_xmin IS NOT NULL",
                [self._pid],
            ).fetchone()
        return f"pid {row[0]}, idle in transaction, holds xmin {row[1]}" if row else None
