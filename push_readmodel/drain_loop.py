"""When to drain: when the next row is due, or when a NOTIFY announces an earlier one."""

from __future__ import annotations

import logging
import random
import select
import socket
import threading
import time
from contextlib import closing, suppress
from math import inf
from typing import Any

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway
from duetime.runtime.heartbeat import NO_HEARTBEAT, Heartbeat
from push_readmodel.connection import open_connection, prepare_for_drain
from push_readmodel.database_errors import retried
from push_readmodel.drain import Drain, Remaining
from push_readmodel.drain_modes import HEARTBEAT_EVERY_S, DrainInPool, DrainInThread, Submit
from push_readmodel.drain_settings import DEFAULT, DrainSettings
from push_readmodel.failed import warn_if_missing
from push_readmodel.pooler import POOLED, check_same_database, is_pooled, refuse_statement_pooling
from push_readmodel.scheduler import CHANNEL

log = logging.getLogger(__name__)

STAND_BY_S = 0.25
"""A due row that another worker holds is checked again after this time. The others wake at most this long after the
leader."""
RECONNECT_S = 0.5
CHECK_WITHOUT_NOTIFY_EVERY_S = 1.0
"""Behind a transaction pooler."""
LOOK_FOR_POOLER_EVERY_S = 60.0
"""Behind a transaction pooler, reconnect after this time: it may be gone."""
CONNECTION_OPEN = "checked its database connection"
"""The heartbeat while the loop sleeps."""
LEADER = 7319
"""Advisory lock of the leader, the one worker that wakes when a row becomes due; the others wake a moment later."""


class DrainLoop:
    """Drains and sleeps in turn until stopped, through any outage of the database.

    submit: runs deliveries in a pool, `drain_settings.threads` at a time; without it they run in the loop's thread.
    application: leads to the database as the application does, if `engine` is a direct connection beside its pooler.
    """

    def __init__(
        self,
        engine: Engine,
        gateway: Gateway,
        drain_class: type[Drain] = Drain,
        *,
        drain_settings: DrainSettings = DEFAULT,
        effects: Effects = NO_EFFECTS,
        heartbeat: Heartbeat = NO_HEARTBEAT,
        submit: Submit | None = None,
        application: Engine | None = None,
    ) -> None:
        self._engine = engine
        self._application = application
        self._pooled: bool | None = None
        self._gateway = gateway
        self._drain_class = drain_class
        self._drain_settings = drain_settings
        self._effects = effects
        self._heartbeat = heartbeat
        self._stopping = threading.Event()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        stopping = self._stopping.is_set
        self._mode: DrainInThread | DrainInPool
        if submit is None:
            self._mode = DrainInThread(stopping, heartbeat)
        else:
            self._mode = DrainInPool(
                stopping,
                submit=submit,
                threads=drain_settings.threads,
                open_drain=self._open_drain,
                wake=self._wake,
            )

    def stop(self) -> None:
        """End after the current batch."""
        self._stopping.set()
        self._wake()

    def run(self) -> None:
        """Drain and sleep in turn.

        Raises:
            Exception: any error that stays until a person changes something (database_errors.py). The caller must end
                the process, which would otherwise look healthy and deliver nothing.
        """
        with self._wake_reader, self._wake_writer, closing(self._mode):
            while not self._stopping.is_set():
                try:
                    self._run_connected()
                except Exception as error:
                    refuse_statement_pooling(error)
                    if not (reason := retried(error)):
                        raise
                    log.warning("%s; trying again in %.1f s: %s", reason, RECONNECT_S, error)
                    self._stopping.wait(RECONNECT_S)

    def _run_connected(self) -> None:
        with closing(open_connection(self._engine)) as listening, closing(open_connection(self._engine)) as connection:
            if self._application:
                _check_application(self._application, listening)
            # Before anything is set or listened to, because it would stay in a session that others use, too.
            pooled = self._find_pooler(listening, connection)
            prepare_for_drain(listening, pooled=pooled)
            prepare_for_drain(connection, pooled=pooled)
            if not pooled:
                listening.execute(f"LISTEN {CHANNEL}")
            with closing(self._new_drain(connection)) as drain, closing(self._mode):
                self._drain_and_sleep(None if pooled else listening, drain)

    def _drain_and_sleep(self, listening: psycopg.Connection[Any] | None, drain: Drain) -> None:
        """Drain and sleep in turn until stopped; without a NOTIFY only for a while."""
        leads, until_s = False, inf if listening else time.monotonic() + LOOK_FOR_POOLER_EVERY_S
        while not self._stopping.is_set() and time.monotonic() < until_s:
            remaining, again = self._mode.run(drain)
            if again:
                # Read and drop the NOTIFYs, or PostgreSQL's queue grows; the next drain finds their rows anyway.
                _read_notified_due_times(listening)
                continue
            leads = leads or _try_to_lead(listening)
            self._sleep(listening, remaining, leads=leads)

    def _find_pooler(self, listening: psycopg.Connection[Any], other: psycopg.Connection[Any]) -> bool:
        before, self._pooled = self._pooled, is_pooled(listening, other)
        self._heartbeat.note = f", and {POOLED}," if self._pooled else ""
        if before is None:  # the first connection of this process
            warn_if_missing(other)
        if self._pooled and not before:
            log.warning("this worker %s", POOLED)
        return self._pooled

    def _sleep(self, listening: psycopg.Connection[Any] | None, remaining: Remaining, *, leads: bool) -> None:
        """Sleep until the next row is due or may be free, or until a NOTIFY announces an earlier one."""
        behind_leader_s = 0.0 if leads else STAND_BY_S * random.uniform(0.6, 1.0)

        def wake_time_s(due_s: float) -> float:
            return remaining.at_s + (due_s - self._drain_settings.look_ahead_s - remaining.now_s) + behind_leader_s

        # There is no NOTIFY for rows due in more than an hour, nor for a row that COPY, a restored dump or replication
        # wrote. After the database's clock was set, the sleep until the next row has the wrong length.
        check_every_s = self._drain_settings.check_every_s
        if not listening:
            check_every_s = min(check_every_s, CHECK_WITHOUT_NOTIFY_EVERY_S)
        wake_at_s = remaining.at_s + check_every_s * random.uniform(0.9, 1.0)
        if remaining.next_s is not None:
            wake_at_s = min(wake_at_s, wake_time_s(remaining.next_s))
        if remaining.due:
            wake_at_s = min(wake_at_s, remaining.at_s + STAND_BY_S)
        # Before select(): what arrived during a query is in psycopg's memory already, no longer on the socket.
        wake_at_s = min([wake_at_s, *map(wake_time_s, _read_notified_due_times(listening))])
        while (left_s := wake_at_s - time.monotonic()) > 0 and not self._stopping.is_set():
            # This heartbeat needs no query: if the connection had broken, select() would have returned.
            if self._mode.is_progressing():
                self._heartbeat.beat(CONNECTION_OPEN, again_within_s=min(left_s, HEARTBEAT_EVERY_S))
            sockets = [self._wake_reader.fileno(), *([listening.fileno()] if listening else [])]
            ready, _, _ = select.select(sockets, [], [], min(left_s, HEARTBEAT_EVERY_S))
            if self._wake_reader.fileno() in ready:
                self._wake_reader.recv(4096)
                return
            if ready:
                wake_at_s = min([wake_at_s, *map(wake_time_s, _read_notified_due_times(listening))])

    def _open_drain(self) -> Drain:
        return self._new_drain(prepare_for_drain(open_connection(self._engine), pooled=bool(self._pooled)))

    def _new_drain(self, connection: psycopg.Connection[Any]) -> Drain:
        return self._drain_class(connection, self._gateway, self._drain_settings, self._effects)

    def _wake(self) -> None:
        with suppress(OSError):  # the loop has ended
            self._wake_writer.send(b".")


def _check_application(application: Engine, direct: psycopg.Connection[Any]) -> None:
    """Check that the application's connections lead to the database of `direct`, unless they cannot be opened now."""
    try:
        with closing(open_connection(application)) as connection:
            check_same_database(direct, connection)
    except (SQLAlchemyError, psycopg.Error) as error:
        log.warning("DUETIME_DATABASE_URL does not answer, so it is not compared with the direct one: %s", error)


def _read_notified_due_times(listening: psycopg.Connection[Any] | None) -> list[float]:
    """Return the due times in unread NOTIFYs, in seconds since 1970; 0 for one that is not a number."""
    due_times = []
    for notify in listening.notifies(timeout=0) if listening else ():
        try:
            due_times.append(float(notify.payload))
        except ValueError:
            due_times.append(0.0)
    return due_times


def _try_to_lead(listening: psycopg.Connection[Any] | None) -> bool:
    return listening is not None and bool(
        listening.execute("SELECT pg_try_advisory_lock(%s)", [LEADER]).fetchone() == (True,)
    )
