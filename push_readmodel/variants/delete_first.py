"""Variant: delete and commit, then deliver. Nothing is ever repeated, and what a crash interrupts is gone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg

from duetime.interface import Guarantees, Notification
from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway
from push_readmodel.design import design as at_least_once
from push_readmodel.design import serving
from push_readmodel.drain import Drain, Look
from push_readmodel.drain_settings import DEFAULT, DrainSettings

log = logging.getLogger(__name__)

BATCH = 4
"""Rows that no cancel can call back any more, and the most that a crash can lose: as few as take no time."""

TAKE = """
    DELETE FROM pending_notifications WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM pending_notifications WHERE attempt_at <= statement_timestamp()
        ORDER BY attempt_at LIMIT %s FOR UPDATE SKIP LOCKED))
    RETURNING attempts, key, revision, kind, recipient, due_at, payload
"""


class DrainDeletingFirst(Drain):
    """The locks are held for one round trip instead of a batch of deliveries: nobody waits for the outside world."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        gateway: Gateway,
        policy: DrainSettings = DEFAULT,
        effects: Effects = NO_EFFECTS,
    ) -> None:
        # What is taken is gone, so nothing is taken before it is due.
        super().__init__(connection, gateway, replace(policy, look_ahead_s=0.0), effects)

    def drain_all(self, stopping: Callable[[], bool] = lambda: False) -> tuple[int, Look]:
        tried = 0
        while not stopping():
            taken = self._execute(TAKE, [BATCH])
            self._pipeline.sync()
            rows = taken.fetchall()
            for attempts, *fields in rows:
                notification = Notification.from_store(*fields)
                try:
                    if effect := self._effects.of(notification):
                        self._execute(*effect)
                        self._pipeline.sync()
                    else:
                        self._gateway.deliver(notification, attempt=attempts + 1)
                except Exception:
                    # Not put back: it may have arrived, and at most once is the promise.
                    log.exception("%s was not delivered, or its answer was lost", notification.op)
            tried += len(rows)
            if len(rows) < BATCH:
                break
        return tried, self.look()


design = replace(
    at_least_once,
    name="push_readmodel:delete_first",
    summary="the read model, with each batch deleted and committed before it is delivered",
    weakness=f"what a killed server had deleted and not yet delivered is lost, at most {BATCH}, and so is whatever the "
    "outside world refuses once; a cancel comes too late for a batch that was taken a moment ago",
    guarantees=Guarantees(delivery="at_most_once", transactional=True, cancels=True),
    roles=[serving("push_readmodel.variants.delete_first_app")],
)
