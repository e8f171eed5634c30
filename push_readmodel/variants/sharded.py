"""Variant: an application sharded over several databases, a read model in each, and one fleet of workers for all.

The application does not change: ``schedule(..., session=session)`` writes into the database in which the caller's
transaction runs anyway. So no transaction spans two databases, and each shard keeps the guarantees of one read model.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from duetime.errors import BadUsage
from duetime.runtime.gateway import Gateway
from duetime.runtime.heartbeat import Heartbeat, heartbeat_from
from duetime.settings import Settings
from push_readmodel.celeryapp import Loop, make_drain_loop
from push_readmodel.design import design as in_one_database
from push_readmodel.design import worker_role
from push_readmodel.drain import Drain
from push_readmodel.drain_settings import DrainSettings

SHARDS = 2
"""In a run: two databases of its server."""


class Fleet:
    """Runs one loop for each shard, each in a thread: a shard that is down delays no other.

    Every worker drains every shard. With a worker for each shard instead, a shard would wait whenever its worker is
    gone, and one with more work than the others could not use their workers.
    """

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = loops
        self._failure: Exception | None = None

    def run(self) -> None:
        """Run until stopped.

        Raises:
            Exception: a loop raised it; the others are stopped. The caller must end the process.
        """
        threads = [threading.Thread(target=self._run, args=[loop], name="drain", daemon=True) for loop in self._loops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        for loop in self._loops:
            loop.stop()

    def _run(self, loop: Loop) -> None:
        try:
            loop.run()
        except Exception as error:  # noqa: BLE001 - raised again by run()
            self._failure = error
            self.stop()


class ShardHeartbeats:
    """One heartbeat for all loops, due as early as the first of theirs: one silent loop makes the worker unhealthy."""

    def __init__(self, of_worker: Heartbeat) -> None:
        self._of_worker = of_worker
        self._due_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def of_shard(self, name: str) -> Heartbeat:
        return _ShardHeartbeat(self, name)

    def beat(self, name: str, activity: str, again_within_s: float) -> None:
        with self._lock:
            now_s = time.monotonic()
            self._due_s[name] = now_s + again_within_s
            silent, due_s = min(self._due_s.items(), key=lambda item: item[1])
            self._of_worker.note = f" in {name}, and awaits {silent}" if silent != name else f" in {name}"
            self._of_worker.beat(activity, again_within_s=due_s - now_s)


class _ShardHeartbeat(Heartbeat):
    def __init__(self, heartbeats: ShardHeartbeats, name: str) -> None:
        super().__init__()
        self._heartbeats, self._name = heartbeats, name
        self.beat("began", again_within_s=0)

    def beat(self, activity: str, *, again_within_s: float, reached: str | None = None) -> None:  # noqa: ARG002 - of pollers
        self._heartbeats.beat(self._name, activity + self.note, again_within_s)


def make_fleet(
    settings: Settings, drain_settings: DrainSettings, drain: type[Drain], gateway: Gateway, worker: Any
) -> Fleet:
    """Return the loops of all shards, which share the gateway, the heartbeat and the pool of the worker."""
    heartbeats = ShardHeartbeats(heartbeat_from(settings))
    return Fleet(
        [
            make_drain_loop(
                replace(settings, database_url=url),
                drain_settings,
                drain,
                gateway,
                worker,
                heartbeats.of_shard(f"shard {number}"),
            )
            for number, url in enumerate(shard_urls(settings), start=1)
        ]
    )


def shard_urls(settings: Settings) -> Sequence[str]:
    """Return the databases that a worker drains: `settings.shards`, or the only database."""
    return settings.shards or (settings.database_url,)


def check_environment(environment: Mapping[str, str]) -> None:
    """Check the variables of a worker.

    Raises:
        BadUsage: one is out of bounds, or describes one database only.
    """
    drain_settings, settings = DrainSettings.from_environment(environment), Settings.from_environment(environment)
    if drain_settings.metrics_port or settings.direct_database_url:
        raise BadUsage(
            "DUETIME_METRICS_PORT and DUETIME_DIRECT_DATABASE_URL describe one database, and push_readmodel:sharded "
            "has several; unset them, name the databases in DUETIME_SHARDS without a pooler, and ask each by "
            "`duetime status push_readmodel`"
        )


design = replace(
    in_one_database,
    name="push_readmodel:sharded",
    summary=f"the application in {SHARDS} databases, a read model in each, and workers that drain all of them",
    roles=[worker_role("push_readmodel.variants.sharded_worker")],
    check_environment=check_environment,
    shards=SHARDS,
)
