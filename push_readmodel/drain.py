"""The drain: claim due rows, deliver each, delete them, in one transaction; one round trip from batch to batch."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import Engine

from duetime.interface import Notification
from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway
from duetime.shell_command import shell_command
from push_readmodel.batch_sizer import BatchSizer
from push_readmodel.clock import DatabaseClock
from push_readmodel.connection import connect, set_up_of_transaction
from push_readmodel.drain_settings import BATCH_TIME_S, DEFAULT, DrainSettings
from push_readmodel.failed import GIVE_UP, REMOVE_REPLACED, check_failed_table, is_last_attempt
from push_readmodel.guards import check_changed, check_gone, check_table
from push_readmodel.retries import concerns_one_delivery, error_text, retry_after
from push_readmodel.statements import BEGIN, CLAIM, DELETE, FRONT_OF_INDEX, PUT_BACK, REMAINING

log = logging.getLogger(__name__)

FROM_THE_FRONT_EVERY_S = 2.0
_parse_json = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left in the table.

    now_s: the database's clock, in seconds since 1970. due: the table has a due row. When
    drain_all() has delivered all it could, another worker holds that row or it has just become due; when drain_all()
    ended because stopping() was true, the row may also be unclaimed.
    next_s: when the next row is due, by the same clock. at_s: ``time.monotonic()`` of this answer.
    """

    now_s: float
    due: bool
    next_s: float | None
    at_s: float


@dataclass(slots=True)
class Batch:
    """The rows that one transaction holds, and their outcomes.

    short: the claim returned fewer rows than its limit, and all were tried: from where it began, no more were free.
    from_front: the claim began at the front of the index.
    delivered: the keys of the rows that the gateway accepted. executed: those whose effect was executed.
    failed: what PUT_BACK needs, for each row whose delivery failed. given_up: what GIVE_UP needs, for those whose last
    delivery failed.
    changes: what the commit changes, with the keys of these rows and the cursor that knows how many it changed.
    """

    rows: Sequence[tuple[Any, ...]]
    short: bool
    from_front: bool
    delivered: list[str] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    failed: list[tuple[timedelta, str, str]] = field(default_factory=list)
    given_up: list[tuple[str, str]] = field(default_factory=list)
    changes: list[tuple[str, list[str], psycopg.Cursor[Any]]] = field(default_factory=list)

    @property
    def done(self) -> int:
        return len(self.delivered) + len(self.executed)

    @property
    def tried(self) -> int:
        return self.done + len(self.failed) + len(self.given_up)


class Drain:
    """Delivers due rows over one connection."""

    claim = CLAIM

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        gateway: Gateway,
        drain_settings: DrainSettings = DEFAULT,
        effects: Effects = NO_EFFECTS,
    ) -> None:
        self._connection = connection
        self._set_up = set_up_of_transaction(connection)
        self._ascii_only = connection.info.parameter_status("server_encoding") != "UTF8"
        self._gateway = gateway
        self._effects = effects
        with ExitStack() as resources:
            resources.callback(connection.close)
            self._has_triggers = check_table(connection)
            if drain_settings.max_attempts:
                check_failed_table(connection)
            self._pipeline = resources.enter_context(connection.pipeline())
            self._resources = resources.pop_all()
        self._max_attempts = drain_settings.max_attempts
        self._ahead = timedelta(seconds=drain_settings.look_ahead_s)
        self._sizer = BatchSizer(drain_settings.batch_most)
        self._clock = DatabaseClock()
        self._low_water_mark: datetime | str = FRONT_OF_INDEX
        self._from_front_at_s = 0.0

    def close(self) -> None:
        """Close the connection, which frees the rows that it holds."""
        self._connection.close()
        with suppress(psycopg.Error):
            self._resources.close()

    def drain_all(self, stopping: Callable[[], bool] = lambda: False) -> tuple[int, Remaining]:
        """Deliver until every due row is delivered or held elsewhere, or until `stopping` after a batch.

        Returns the number of deliveries, and what remains.
        """
        delivered, batch = 0, self._commit_and_claim(None)
        while True:
            self._deliver(batch, stopping)
            delivered += batch.done
            if stopping() or (batch.short and batch.from_front):
                return delivered, self.check_remaining(batch)
            batch = self._commit_and_claim(batch)

    def check_remaining(self, batch: Batch | None = None) -> Remaining:
        """Commit `batch`, and query what remains."""
        self._commit(batch)
        remaining = self._execute_alone(REMAINING, {"ahead": self._ahead})
        self._pipeline.sync()
        self._check_changes(batch)
        [(now_s, due, next_s)] = remaining.fetchall()
        return Remaining(now_s, due, next_s, time.monotonic())

    def _commit_and_claim(self, previous: Batch | None) -> Batch:
        """Delete the delivered rows of `previous`, commit, and claim the next batch, in one round trip."""
        since = self._start_of_claim(previous)
        self._commit(previous)
        self._begin()
        claimed = self._execute(self.claim, (since, self._ahead, limit := self._sizer.limit))
        self._pipeline.sync()
        at_s = time.monotonic()
        if from_front := since is FRONT_OF_INDEX:
            self._from_front_at_s = at_s
        self._check_changes(previous)
        rows = claimed.fetchall()
        if rows:
            _, attempt_at, wait_s, *_ = rows[-1]
            self._clock.record(attempt_at.timestamp() - wait_s, at_s)
        return Batch(rows, short=len(rows) < limit, from_front=from_front)

    def _start_of_claim(self, previous: Batch | None) -> datetime | str:
        """Return the low-water mark: a claim from the front steps over deleted rows until they are vacuumed.

        Every other second, and after a short claim, return `FRONT_OF_INDEX`: a row may have come in behind the mark.
        """
        if previous and previous.tried:
            self._low_water_mark = previous.rows[previous.tried - 1][1]
        if (previous and previous.short) or time.monotonic() - self._from_front_at_s > FROM_THE_FRONT_EVERY_S:
            return FRONT_OF_INDEX
        return self._low_water_mark

    def _begin(self) -> None:
        self._execute(BEGIN)
        if self._set_up:
            self._execute(self._set_up)

    def _commit(self, batch: Batch | None) -> None:
        if batch is None:
            return
        for put_back in batch.failed:
            batch.changes.append(("put back", [put_back[-1]], self._execute(PUT_BACK, put_back)))
        if self._max_attempts:
            self._give_up(batch)
        if batch.delivered:
            batch.changes.append(("deleted", batch.delivered, self._execute(DELETE, [batch.delivered])))
        self._execute("COMMIT")

    def _give_up(self, batch: Batch) -> None:
        """Move the rows of `batch` whose last delivery failed, and remove given-up revisions that it replaced."""
        for key, error in batch.given_up:
            batch.changes.append(("given up", [key], self._execute(GIVE_UP, {"key": key, "error": error})))
        failed = {key for *_, key in batch.failed} | {key for key, _ in batch.given_up}
        done = {row[3]: row[4] for row in batch.rows[: batch.tried] if row[3] not in failed}
        if done:
            self._execute(REMOVE_REPLACED, [list(done), list(done.values())])

    def _check_changes(self, batch: Batch | None) -> None:
        if batch is None:
            return
        for action, keys, cursor in batch.changes:
            check_changed(self._connection, action, keys, cursor.rowcount)
        if self._has_triggers and batch.done:
            delivered = set(batch.delivered) | set(batch.executed)
            check_gone(self._connection, [(row[3], row[4]) for row in batch.rows if row[3] in delivered])

    def _deliver(self, batch: Batch, stopping: Callable[[], bool]) -> None:
        """Deliver in due order for `BATCH_TIME_S`; the commit frees the rest."""
        spent_s = 0.0
        for attempts, attempt_at, wait_s, key, revision, kind, recipient, due_at, payload in batch.rows:
            began_s = time.monotonic()
            try:
                # Built here and not at the claim, because rows that this batch does not reach are claimed again; and
                # before the wait, so that only the delivery is left to do when the row falls due.
                notification = Notification.from_store(key, revision, kind, recipient, due_at, _parse_json(payload)[0])
                if wait_s > 0:
                    if not self._clock.wait_until(attempt_at, stopping):
                        break
                    began_s = time.monotonic()
                if effect := self._effects.of(notification):
                    self._execute_effect(key, *effect)
                    batch.executed.append(key)
                else:
                    self._gateway.deliver(notification, attempt=attempts + 1)
                    batch.delivered.append(key)
            except BaseException as error:
                if not concerns_one_delivery(error):
                    raise
                self._record_failure(batch, key, attempts, error)
            spent_s += time.monotonic() - began_s
            if spent_s > BATCH_TIME_S:
                break
        self._sizer.record(batch.tried, spent_s)
        if batch.tried < len(batch.rows):
            batch.short = False

    def _record_failure(self, batch: Batch, key: str, attempts: int, error: BaseException) -> None:
        """Note that the delivery of `key` failed after `attempts` failed before it."""
        if is_last_attempt(attempts + 1, error, self._max_attempts):
            see = shell_command("failed", "list", "push_readmodel")
            log.error("giving up %r after %d attempts; see `%s`", key, attempts + 1, see)
            batch.given_up.append((key, error_text(error, ascii_only=self._ascii_only)))
        else:
            batch.failed.append((retry_after(attempts), error_text(error, ascii_only=self._ascii_only), key))

    def _execute_effect(self, key: str, statement: str, parameters: dict[str, Any]) -> None:
        """Delete the row and execute `statement` in one transaction: a crash undoes both or neither."""
        self._execute_unprepared("SAVEPOINT effect")
        try:
            # Before the statement, which may schedule the next notification of the same key.
            deleted = self._execute(DELETE, [[key]])
            # Another transaction may hold a row that the effect changes and wait for one that we hold. Give up after
            # 200 ms and retry later, so that it can finish.
            self._execute_unprepared("SET LOCAL lock_timeout = '200ms'")
            self._execute(statement, parameters)
            self._execute_unprepared("SET CONSTRAINTS ALL IMMEDIATE")
            self._pipeline.sync()
            check_changed(self._connection, "deleted", [key], deleted.rowcount)
            self._execute_unprepared("RELEASE effect")
            self._pipeline.sync()
        except BaseException:
            # Undo this effect only. After an error the pipeline skips everything up to a sync. After a rollback psycopg
            # sends DEALLOCATE ALL with its next command, so no step here relies on a prepared statement.
            with suppress(psycopg.Error):
                self._pipeline.sync()
            for step in ("ROLLBACK TO effect", "RELEASE effect"):
                self._execute_unprepared(step)
                self._pipeline.sync()
            raise

    def _execute_unprepared(self, statement: str) -> None:
        self._connection.execute(statement, prepare=False)

    def _execute_alone(self, statement: str, parameters: Any) -> psycopg.Cursor[Any]:
        """Execute `statement` in a transaction of its own."""
        if not self._set_up:
            return self._execute(statement, parameters)
        self._begin()
        cursor = self._execute(statement, parameters)
        self._execute("COMMIT")
        return cursor

    def _execute(self, statement: str, parameters: Any = None) -> psycopg.Cursor[Any]:
        return self._connection.cursor(binary=True).execute(statement, parameters, prepare=True)


def drain(
    engine: Engine,
    gateway: Gateway,
    *,
    drain_settings: DrainSettings = DEFAULT,
    stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Deliver until nothing is due, or until `stopping` after a batch. Returns the number of deliveries."""
    with closing(Drain(connect(engine), gateway, drain_settings)) as draining:
        return draining.drain_all(stopping)[0]
