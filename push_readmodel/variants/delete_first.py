"""Variant: delete and commit, then deliver. No duplicates; a crash loses the batch that it interrupts."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg

from duetime.errors import BadUsage
from duetime.interface import Guarantees, Notification
from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway
from push_readmodel.design import design as at_least_once
from push_readmodel.design import worker_role
from push_readmodel.drain import Drain, Remaining
from push_readmodel.drain_settings import DEFAULT, DrainSettings
from push_readmodel.retries import concerns_one_delivery

log = logging.getLogger(__name__)

BATCH_ROWS = 4
"""Rows deleted in one transaction, instead of `batch_most`. A crash loses at most these."""

TAKE = """
    DELETE FROM pending_notifications WHERE key = ANY(ARRAY(
        SELECT key FROM pending_notifications WHERE attempt_at <= statement_timestamp()
        ORDER BY attempt_at LIMIT %s FOR UPDATE SKIP LOCKED))
    RETURNING key, revision, kind, recipient, due_at, payload::text, attempts
"""


class DrainDeletingFirst(Drain):
    """Holds locks for one round trip instead of a batch of deliveries: no cancel waits for the gateway."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        gateway: Gateway,
        drain_settings: DrainSettings = DEFAULT,
        effects: Effects = NO_EFFECTS,
    ) -> None:
        if drain_settings.max_attempts:
            connection.close()
            raise BadUsage(
                f"DUETIME_MAX_ATTEMPTS is {drain_settings.max_attempts}, but push_readmodel:delete_first never retries "
                "and keeps nothing that it gave up; unset it"
            )
        # No look-ahead: a deleted row cannot be cancelled any more.
        super().__init__(connection, gateway, replace(drain_settings, look_ahead_s=0.0), effects)

    def drain_all(self, stopping: Callable[[], bool] = lambda: False) -> tuple[int, Remaining]:
        """Deliver in batches of `BATCH_ROWS`. Returns the number of attempts, failed ones included."""
        tried = 0
        while not stopping():
            taken = self._execute_alone(TAKE, [BATCH_ROWS])
            self._pipeline.sync()
            rows = taken.fetchall()
            for key, revision, *fields in rows:
                try:
                    self._deliver_taken(key, revision, *fields)
                except BaseException as error:
                    if not concerns_one_delivery(error):
                        raise
                    # No retry: it may have arrived, and the guarantee is at most once.
                    log.exception("%s/%d was not delivered, or the answer of the gateway was lost", key, revision)
            tried += len(rows)
            if len(rows) < BATCH_ROWS:
                break
        return tried, self.check_remaining()

    def _deliver_taken(
        self, key: str, revision: int, kind: str, recipient: str, due_at: datetime, payload: str, attempts: int
    ) -> None:
        notification = Notification.from_store(key, revision, kind, recipient, due_at, json.loads(payload))
        if effect := self._effects.of(notification):
            self._execute(*effect)
            self._pipeline.sync()
        else:
            self._gateway.deliver(notification, attempt=attempts + 1)


design = replace(
    at_least_once,
    name="push_readmodel:delete_first",
    summary="the read model, with each batch deleted and committed before it is delivered",
    weakness=f"rows that a crashed worker had deleted and not delivered are lost, at most {BATCH_ROWS}, and so is "
    "every delivery that the gateway refuses; a cancel is too late for a batch that is being delivered",
    guarantees=Guarantees(delivery="at_most_once", transactional=True, cancels=True),
    roles=[worker_role("push_readmodel.variants.delete_first_worker")],
)
