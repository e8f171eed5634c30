"""What the application itself does wrong: it dies between its commit and what follows, or forgets a transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import psycopg

from duetime.faults.fault import FaultNotVerified, Sleeper, wait_for
from duetime.runtime.failpoints import Failpoint, disarm, hits


class ClientTarget(Protocol):
    """A client as this fault sees it."""

    @property
    def name(self) -> str: ...

    @property
    def failpoints(self) -> Path: ...

    def exit_status(self) -> int | None:
        """Its exit status; None while it lives."""

    def start_successor(self) -> None:
        """Start another in its place, which first finds out how the interrupted operation ended."""

    def wait_ready(self, stop: Sleeper, /) -> None: ...


class ClientKill:
    """SIGKILL of an application's process right after its database said that the commit is done."""

    def __init__(self, client: ClientTarget, *, within_s: float) -> None:
        self._client = client
        self._within_s = within_s

    def prepare(self, _stop: Sleeper) -> str:
        return f"{self._client.name} will kill itself after its next commit, before anything that follows the commit"

    def inject(self) -> None:
        Failpoint(point="after_commit", action="kill").arm(self._client.failpoints)

    def verify_injected(self, stop: Sleeper) -> str:
        client = self._client
        wait_for(
            lambda: client.exit_status() == -9, stop, within_s=self._within_s, message=f"{client.name} did not die"
        )
        struck_at = hits(client.failpoints)
        if not struck_at:
            raise FaultNotVerified(f"{client.name} died, but not at the failpoint")
        return f"pid {struck_at[-1]['pid']} struck at {struck_at[-1]['point']} and was reaped with status -9"

    def heal(self) -> None:
        disarm(self._client.failpoints)

    def verify_healed(self, stop: Sleeper) -> str:
        client = self._client
        # Disarmed, it either has died by now or is about to, or goes on unharmed.
        if not hits(client.failpoints):
            raise FaultNotVerified(f"{client.name} was not killed, so nobody goes on in its place")
        wait_for(lambda: client.exit_status() == -9, stop, within_s=2, message=f"{client.name} did not die")
        client.start_successor()
        client.wait_ready(stop)
        return f"another process goes on in the place of {client.name}"


class OldTransaction:
    """A transaction that somebody opened, read in, and forgot: it keeps every row that dies after it from vacuum."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._forgotten: psycopg.Connection | None = None
        self._pid = 0

    def prepare(self, _stop: Sleeper) -> str:
        return "a transaction with a snapshot is opened and left open"

    def inject(self) -> None:
        self._forgotten = psycopg.connect(self._url)
        self._pid = self._forgotten.info.backend_pid
        self._forgotten.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._forgotten.execute("SELECT count(*) FROM events")

    def verify_injected(self, stop: Sleeper) -> str:
        wait_for(lambda: bool(self._held()), stop, within_s=2, message="no snapshot was held")
        return self._held() or ""

    def heal(self) -> None:
        if self._forgotten is not None:
            self._forgotten.close()

    def verify_healed(self, stop: Sleeper) -> str:
        with psycopg.connect(self._url, autocommit=True) as probe:
            # Counted by the statistics that autovacuum itself goes by; they are written within a second.
            dead = probe.execute("SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables").fetchone()
        wait_for(lambda: not self._held(), stop, within_s=5, message="the snapshot was still held")
        return f"the snapshot is gone; {dead[0] if dead else 0} dead rows had piled up in all tables"

    def _held(self) -> str | None:
        with psycopg.connect(self._url, autocommit=True) as probe:
            row = probe.execute(
                "SELECT pid, backend_xmin::text FROM pg_stat_activity WHERE pid = %s "
                "AND state = 'idle in transaction' AND backend_xmin IS NOT NULL",
                [self._pid],
            ).fetchone()
        return f"pid {row[0]}, idle in transaction, holds xmin {row[1]}" if row else None
