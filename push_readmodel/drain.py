"""The drain: claim what is due, deliver each, delete it, in one transaction, and one round trip from batch to batch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import Engine

from duetime.interface import Notification
from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway
from push_readmodel.clock import DatabaseClock
from push_readmodel.drain_settings import BATCH_TAKES_S, DEFAULT, DrainSettings
from push_readmodel.scheduler import CHANNEL

FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(hours=1)
FROM_THE_FRONT_EVERY_S = 2.0
AWAKE_S = 0.0003
"""For so long a row that was claimed ahead is waited for without sleeping: so much too late a sleep may end."""
_parse = json.JSONDecoder().raw_decode
EPOCH = datetime(1, 1, 1, tzinfo=UTC)

SET_UP = """
    SET TimeZone = 'UTC';
    -- The claim is planned once, maybe on an empty table, and has to be the same walk along the index when it is full.
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
    -- A server whose machine is gone without a word holds its rows for half a minute, not for two hours.
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 4;
    -- A delivery may take longer than somebody set for everybody; cut off, it would be repeated for ever.
    SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0
"""
# Due is judged by the database's clock, so a server with a wrong clock is never early (with look-ahead as far as that
# clock can be known here: clock.py). clock_timestamp() would be asked again for every row, and so cannot end a walk
# along the index; now() would stand still in a long transaction.
# The locking SELECT itself returns the rows: joined to a locking subquery they would be read as they stood before
# the lock, and a revision that was replaced in between would be delivered in the place of the newer.
CLAIM = """
    SELECT ctid::text, attempts, attempt_at, extract(epoch FROM attempt_at - clock_timestamp())::float8,
           key, revision, kind, recipient, due_at, payload::text
    FROM pending_notifications
    WHERE attempt_at BETWEEN %s AND statement_timestamp() + %s
    ORDER BY attempt_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
DELETE = "DELETE FROM pending_notifications WHERE ctid = ANY(%s::tid[])"
PUT_BACK = f"""
    WITH later AS (
        UPDATE pending_notifications
        SET attempts = attempts + 1, attempt_at = clock_timestamp() + %s, last_error = %s WHERE ctid = %s::tid
        RETURNING attempt_at
    )
    SELECT pg_notify('{CHANNEL}', extract(epoch FROM attempt_at)::text) FROM later
"""  # noqa: S608 - the channel is ours
LOOK = """
    SELECT extract(epoch FROM clock_timestamp())::float8,
           EXISTS (SELECT FROM pending_notifications WHERE attempt_at <= statement_timestamp() + %(ahead)s),
           (SELECT extract(epoch FROM attempt_at)::float8 FROM pending_notifications
            WHERE attempt_at > statement_timestamp() + %(ahead)s ORDER BY attempt_at LIMIT 1)
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What is left: whether anything is due, which somebody else holds or which came just now, and when the next is.

    now_s, next_s: seconds since 1970 by the database's clock. at_s: when that was, by ``time.monotonic()``.
    """

    now_s: float
    due: bool
    next_s: float | None
    at_s: float


@dataclass(slots=True)
class Batch:
    """Rows that one transaction holds, and what became of them. short: fewer than asked for. whole: from the front."""

    rows: Sequence[tuple[Any, ...]]
    short: bool
    whole: bool
    delivered: list[str] = field(default_factory=list)
    failed: list[tuple[timedelta, str, str]] = field(default_factory=list)


class Drain:
    """Empties what is due over one connection; keeps how quick the gateway is, and how far it has got."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        gateway: Gateway,
        policy: DrainSettings = DEFAULT,
        effects: Effects = NO_EFFECTS,
    ) -> None:
        self._connection = connection
        self._effects = effects
        self._whole_life = ExitStack()
        self._pipeline = self._whole_life.enter_context(connection.pipeline())
        self._gateway = gateway
        self._most = policy.batch_most
        self._ahead = timedelta(seconds=policy.look_ahead_s)
        self._limit = 1
        self._mark = EPOCH
        self._whole_at_s = 0.0
        self._clock = DatabaseClock()

    def close(self) -> None:
        """Give up the connection, and whatever it holds."""
        self._connection.close()
        with suppress(psycopg.Error):
            self._whole_life.close()

    def drain_all(self, stopping: Callable[[], bool] = lambda: False) -> tuple[int, Look]:
        """Deliver until nothing is due that nobody else holds, or until `stopping` after some batch.

        Returns how many arrived, and what is left.
        """
        arrived, batch = 0, self._commit_and_claim(None)
        while True:
            self._deliver(batch, stopping)
            arrived += len(batch.delivered)
            if stopping() or (batch.short and batch.whole):
                return arrived, self.look(batch)
            batch = self._commit_and_claim(batch)

    def look(self, batch: Batch | None = None) -> Look:
        """Settle `batch`, and see what is left."""
        self._settle(batch)
        left = self._execute(LOOK, {"ahead": self._ahead})
        self._pipeline.sync()
        [(now_s, due, next_s)] = left.fetchall()
        return Look(now_s, due, next_s, time.monotonic())

    def _low_water_mark(self, batch: Batch | None) -> datetime:
        """From where on to claim: rows that were deleted are stepped over again and again until they are vacuumed.

        From the front whenever a claim came back short and every other second: a row may have come in behind the mark.
        """
        if batch and (tried := len(batch.delivered) + len(batch.failed)):
            self._mark = batch.rows[tried - 1][2]
        if (batch and batch.short) or time.monotonic() - self._whole_at_s > FROM_THE_FRONT_EVERY_S:
            return EPOCH
        return self._mark

    def _commit_and_claim(self, settled: Batch | None) -> Batch:
        """Delete what `settled` delivered, commit, and claim the next rows: one round trip."""
        since = self._low_water_mark(settled)
        self._settle(settled)
        self._execute("BEGIN")
        claimed = self._execute(CLAIM, (since, self._ahead, limit := self._limit))
        self._pipeline.sync()
        at_s = time.monotonic()
        if whole := since is EPOCH:
            self._whole_at_s = at_s
        rows = claimed.fetchall()
        if rows:
            _, _, attempt_at, wait_s, *_ = rows[-1]
            self._clock.read(attempt_at.timestamp() - wait_s, at_s)
        return Batch(rows, short=len(rows) < limit, whole=whole)

    def _settle(self, batch: Batch | None) -> None:
        if batch is None:
            return
        for put_back in batch.failed:
            self._execute(PUT_BACK, put_back)
        if batch.delivered:
            self._execute(DELETE, ['{"' + '","'.join(batch.delivered) + '"}'])
        self._execute("COMMIT")

    def _deliver(self, batch: Batch, stopping: Callable[[], bool]) -> None:
        """Deliver in due order, for as long as a batch may take; the rest is free again with the commit."""
        spent_s = 0.0
        for ctid, attempts, attempt_at, wait_s, key, revision, kind, recipient, due_at, payload in batch.rows:
            began_s = time.monotonic()
            try:
                # Read only now: of a batch that is cut short the rest will be claimed again.
                notification = Notification.from_store(key, revision, kind, recipient, due_at, _parse(payload)[0])
                if wait_s > 0:
                    if not _wait_until(self._clock.at_s(attempt_at), stopping):
                        break
                    began_s = time.monotonic()
                if effect := self._effects.of(notification):
                    self._apply(*effect)
                else:
                    self._gateway.deliver(notification, attempt=attempts + 1)
            except Exception as error:  # noqa: BLE001 - whatever a gateway raises concerns this one notification
                batch.failed.append((retry_after(attempts), told(error), ctid))
            else:
                batch.delivered.append(ctid)
            spent_s += time.monotonic() - began_s
            if spent_s > BATCH_TAKES_S:
                break
        if tried := len(batch.delivered) + len(batch.failed):
            # A little less than there is time for, so that a batch is seldom cut short.
            self._limit = max(1, min(self._most, int(0.8 * BATCH_TAKES_S * tried / max(spent_s, 1e-6))))
        if tried < len(batch.rows):
            batch.short = False

    def _apply(self, statement: str, parameters: dict[str, Any]) -> None:
        """Do it in this transaction: it has happened exactly if the row is gone, whoever crashes when."""
        self._execute_unprepared("SAVEPOINT undone")
        try:
            # Whoever changes the row of the application holds it and waits for ours: let them go first, and come again.
            self._execute_unprepared("SET LOCAL lock_timeout = '200ms'")
            self._execute(statement, parameters)
            self._execute_unprepared("SET CONSTRAINTS ALL IMMEDIATE")
            self._execute_unprepared("RELEASE undone")
            self._pipeline.sync()
        except psycopg.Error:
            # What cannot be done takes nothing else of the batch with it. The pipeline skips all up to a sync; and the
            # driver forgets its prepared statements after a rollback, and says so to the server with what comes next.
            with suppress(psycopg.Error):
                self._pipeline.sync()
            for step in ("ROLLBACK TO undone", "RELEASE undone"):
                self._execute_unprepared(step)
                self._pipeline.sync()
            raise

    def _execute_unprepared(self, statement: str) -> None:
        self._connection.execute(statement, prepare=False)

    def _execute(self, statement: str, parameters: Any = None) -> psycopg.Cursor[Any]:
        return self._connection.cursor(binary=True).execute(statement, parameters, prepare=True)


def drain(
    engine: Engine, gateway: Gateway, *, policy: DrainSettings = DEFAULT, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Deliver until nothing is due, or until `stopping` after some batch; return how many arrived."""
    with closing(Drain(connect(engine), gateway, policy)) as draining:
        return draining.drain_all(stopping)[0]


def connect(engine: Engine) -> psycopg.Connection[Any]:
    """A connection set up for draining, none of the pool's; whatever it holds is free once it is closed."""
    pooled = engine.raw_connection()
    connection = pooled.driver_connection
    pooled.detach()
    if not isinstance(connection, psycopg.Connection):
        raise TypeError(f"the drain speaks psycopg, not {type(connection).__name__}")
    connection.autocommit = True
    connection.execute(SET_UP)
    return connection


def retry_after(attempts: int) -> timedelta:
    """1 s, 2 s, 4 s … up to an hour."""
    doubled: int = 2 ** min(attempts, 20)
    return min(FIRST_RETRY * doubled, LONGEST_RETRY)


def told(error: Exception) -> str:
    """`error` as PostgreSQL can keep it."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - an error that cannot even say what it is
        text = type(error).__name__
    return text.encode(errors="replace").decode().replace("\0", "")[:500]


def _wait_until(at_s: float, stopping: Callable[[], bool]) -> bool:
    """Sleep until `at_s`, by ``time.monotonic()``, unless `stopping`; whether it is that time."""
    while (left_s := at_s - time.monotonic()) > 0:
        if stopping():
            return False
        if left_s > AWAKE_S:
            time.sleep(min(left_s - AWAKE_S, 0.1))
    return True
