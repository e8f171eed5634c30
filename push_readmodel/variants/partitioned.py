"""Variant: the table in eight hash partitions of its key, where each worker prefers partitions of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from push_readmodel.design import design as in_one_table
from push_readmodel.design import worker_role
from push_readmodel.drain import Batch, Drain, Remaining
from push_readmodel.partitions import install_partitioned
from push_readmodel.statements import CLAIM, FRONT_OF_INDEX

PARTITIONS = 8
BACKLOG_ROWS = 100
"""A full batch of at least so many rows means a backlog. Without one, the preference would only add queries."""
PREFER_S = 2.0
"""So long for a worker's own partitions, then as long for all: no partition waits for a worker that is gone."""
PRESENT = 7320
"""Advisory lock that the drains which have met a backlog share. PostgreSQL frees it when the connection closes."""

JOIN = "SELECT pg_try_advisory_lock_shared(%s)"
# Each drain counts the drains and finds its own place among them, so nothing hands out shares. When a drain comes or
# goes, two may prefer the same partition for a moment: SKIP LOCKED gives each row to one of them.
OWN = f"""
    WITH drains AS (
        SELECT pid, row_number() OVER (ORDER BY pid) - 1 AS place, count(*) OVER () AS number FROM pg_locks
        WHERE locktype = 'advisory' AND objid = {PRESENT} AND objsubid = 1 AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ), partitions AS (
        SELECT relid, row_number() OVER (ORDER BY relid::oid) - 1 AS place
        FROM pg_partition_tree('pending_notifications') WHERE isleaf AND parentrelid IS NOT NULL
    )
    SELECT relid::regclass::text FROM partitions, drains
    WHERE pid = pg_backend_pid() AND mod(partitions.place, number) = drains.place
"""  # noqa: S608 - constants


class DrainOwnPartitionsFirst(Drain):
    """In a backlog, empties the partitions of its own share one after another, and then claims from all.

    Rows are delivered in due order within a partition only, as long as there is a backlog.
    """

    _backlog = False
    _present = False

    def drain_all(self, stopping: Callable[[], bool] = lambda: False) -> tuple[int, Remaining]:
        """Deliver until every due row is delivered or held elsewhere, or until `stopping` after a batch."""
        self._backlog = False
        delivered, remaining = self._drain_from(None, lambda: stopping() or self._backlog)
        # Behind a transaction pooler no lock can be kept.
        while self._backlog and not self._set_up and not stopping():
            prefer_until_s = time.monotonic() + PREFER_S
            for partition in self._own_partitions():
                delivered += self._drain_from(partition, _or_after(prefer_until_s, stopping))[0]
            self._backlog = False
            more, remaining = self._drain_from(None, _or_after(time.monotonic() + PREFER_S, stopping))
            delivered += more
        return delivered, remaining

    def _drain_from(self, partition: str | None, stopping: Callable[[], bool]) -> tuple[int, Remaining]:
        """Drain one partition; None for the table."""
        self.claim = CLAIM.replace("pending_notifications", partition) if partition else CLAIM
        self._low_water_mark = FRONT_OF_INDEX
        return super().drain_all(stopping)

    def _commit_and_claim(self, previous: Batch | None) -> Batch:
        batch = super()._commit_and_claim(previous)
        self._backlog = self._backlog or (not batch.short and len(batch.rows) >= BACKLOG_ROWS)
        return batch

    def _own_partitions(self) -> Sequence[str]:
        if not self._present:
            self._execute_alone(JOIN, [PRESENT])
            self._present = True
        own = self._execute_alone(OWN, None)
        self._pipeline.sync()
        return [name for (name,) in own.fetchall()]


def _or_after(until_s: float, stopping: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: stopping() or time.monotonic() > until_s


design = replace(
    in_one_table,
    name="push_readmodel:partitioned",
    summary=f"the read model in {PARTITIONS} hash partitions of its key; in a backlog a worker empties its own first",
    install=partial(install_partitioned, partitions=PARTITIONS),
    roles=[worker_role("push_readmodel.variants.partitioned_worker")],
)
