"""Variant: delete and commit, then deliver. Nothing is ever repeated, and what a crash interrupts is gone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Engine

from duetime.gateway import Gateway
from duetime.interface import Promise
from push_readmodel.deliver import as_notification, claim_due, delete_delivered
from push_readmodel.design import design as at_least_once
from push_readmodel.design import serving

log = logging.getLogger(__name__)

BATCH = 4
"""Rows that no cancel can call back any more, and the most that a crash can lose: as few as take no time."""


def drain_deleting_first(
    engine: Engine, gateway: Gateway, *, batch: int = BATCH, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Deliver until nothing is due, or until `stopping` after some batch; return how many were tried.

    The locks are held for one round trip instead of a batch of deliveries: nobody waits for the outside world.
    """
    tried = 0
    while not stopping():
        with engine.begin() as connection:
            rows = claim_due(connection, limit=batch)
            if rows:
                delete_delivered(connection, [row.id for row in rows])
        for row in rows:
            try:
                gateway.deliver(as_notification(row))
            except Exception:
                # Not put back: it may have arrived, and at most once is the promise.
                log.exception("%s/%s was not delivered, or its answer was lost", row.key, row.revision)
        tried += len(rows)
        if len(rows) < batch:
            break
    return tried


design = replace(
    at_least_once,
    name="push_readmodel:delete_first",
    summary="the read model, with each batch deleted and committed before it is delivered",
    weakness=f"what a killed server had deleted and not yet delivered is lost, at most {BATCH}, and so is whatever the "
    "outside world refuses once; a cancel comes too late for a batch that was taken a moment ago",
    promise=Promise(delivery="at_most_once", transactional=True, cancels=True),
    roles=[serving("push_readmodel.delete_first_app")],
)
