"""A bounded wait of schedule() and cancel() for a row that a worker keeps locked while it delivers it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from duetime.errors import BadUsage, StillBeingDelivered

LOCK_NOT_AVAILABLE = "55P03"
LONGEST_WAIT = timedelta(days=24)
"""PostgreSQL keeps the limit in milliseconds, as an integer."""

BOUNDED = """
    caller AS MATERIALIZED (SELECT current_setting('lock_timeout') AS lock_timeout),
    bounded AS MATERIALIZED (
        SELECT set_config('lock_timeout', CASE
            WHEN lock_timeout::interval BETWEEN interval '1 ms' AND CAST(:wait AS text)::interval THEN lock_timeout
            ELSE CAST(:wait AS text) END, true)
        FROM caller
    )"""
"""CTEs that bound each lock wait of a statement whose rows depend on ``(SELECT true FROM bounded)``.

The caller's own limit counts if it is shorter."""
RESTORED = "set_config('lock_timeout', (SELECT lock_timeout FROM caller), true)"
"""Gives the caller its own limit back. Select it beside an aggregate of what the statement has written."""

BOUND = text(f"WITH {BOUNDED} SELECT lock_timeout FROM caller, bounded")  # noqa: S608 - all parts are constants
RESTORE = text("SELECT set_config('lock_timeout', :lock_timeout, true)")


def lock_timeout(wait: timedelta) -> str:
    """Return `wait` as PostgreSQL writes it.

    Raises:
        BadUsage: `wait` is shorter than a millisecond or longer than `LONGEST_WAIT`.
    """
    if not timedelta(milliseconds=1) <= wait <= LONGEST_WAIT:
        raise BadUsage(
            f"the wait for a locked row is {wait.total_seconds():g} s; set DUETIME_SCHEDULE_WAIT_S to a number from "
            f"0.001 to {LONGEST_WAIT.total_seconds():.0f}"
        )
    return f"{wait // timedelta(milliseconds=1)}ms"


@contextmanager
def still_being_delivered(what: str, wait: str) -> Iterator[None]:
    """Name the reason if a statement ends because a row stays locked. what: the keys; wait: from `lock_timeout`.

    Raises:
        StillBeingDelivered: the row of `what` stayed locked.
    """
    try:
        yield
    except DBAPIError as error:
        # psycopg2 calls it pgcode.
        if LOCK_NOT_AVAILABLE in (getattr(error.orig, "sqlstate", None), getattr(error.orig, "pgcode", None)):
            raise StillBeingDelivered(what, wait) from error
        raise


@contextmanager
def bounded_lock_wait(session: Session, what: str, wait: str) -> Iterator[None]:
    """Bound the lock waits of the statements inside, with a round trip before and one after them.

    Raises:
        StillBeingDelivered: the row of `what` stayed locked.
    """
    callers = session.scalar(BOUND, {"wait": wait})
    with still_being_delivered(what, wait):
        yield
    session.execute(RESTORE, {"lock_timeout": callers})
