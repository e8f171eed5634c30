"""When to drain: when the next row is due, or when a NOTIFY announces an earlier one."""

from __future__ import annotations

import logging
import random
import select
import socket
import threading
import time
from contextlib import closing, suppress
from typing import Any

import psycopg
from sqlalchemy import Engine

from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway
from duetime.runtime.heartbeat import NO_HEARTBEAT, Heartbeat
from push_readmodel.connection import connect
from push_readmodel.database_errors import retried
from push_readmodel.drain import Drain, Remaining
from push_readmodel.drain_modes import HEARTBEAT_EVERY_S, DrainInPool, DrainInThread, Submit
from push_readmodel.drain_settings import DEFAULT, DrainSettings
from push_readmodel.scheduler import CHANNEL

log = logging.getLogger(__name__)

STAND_BY_S = 0.25
"""A due row that another worker holds is checked again after this time. The others wake at most this long after the
leader."""
RECONNECT_S = 0.5
CONNECTION_OPEN = "checked its database connection"
"""The heartbeat while the loop sleeps."""
LEADER = 7319
"""Advisory lock of the leader, the one worker that wakes when a row becomes due; the others wake a moment later."""


class DrainLoop:
    """Drains and sleeps in turn until stopped, through any outage of the database.

    submit: runs deliveries in a pool, `drain_settings.threads` at a time; without it they run in the loop's thread.
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
    ) -> None:
        self._engine = engine
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
                    if not (reason := retried(error)):
                        raise
                    log.warning("%s; trying again in %.1f s: %s", reason, RECONNECT_S, error)
                    self._stopping.wait(RECONNECT_S)

    def _run_connected(self) -> None:
        with closing(connect(self._engine)) as listening, closing(self._open_drain()) as drain, closing(self._mode):
            listening.execute(f"LISTEN {CHANNEL}")
            leads = False
            while not self._stopping.is_set():
                remaining, again = self._mode.run(drain)
                if again:
                    # Read and drop the NOTIFYs, or PostgreSQL's queue grows; the next drain finds their rows anyway.
                    _read_notified_due_times(listening)
                    continue
                leads = leads or _try_to_lead(listening)
                self._sleep(listening, remaining, leads=leads)

    def _sleep(self, listening: psycopg.Connection[Any], remaining: Remaining, *, leads: bool) -> None:
        """Sleep until the next row is due or may be free, or until a NOTIFY announces an earlier one."""
        behind_leader_s = 0.0 if leads else STAND_BY_S * random.uniform(0.6, 1.0)

        def wake_time_s(due_s: float) -> float:
            return remaining.at_s + (due_s - self._drain_settings.look_ahead_s - remaining.now_s) + behind_leader_s

        # There is no NOTIFY for rows due in more than an hour, nor for a row that COPY, a restored dump or replication
        # wrote. After the database's clock was set, the sleep until the next row has the wrong length.
        wake_at_s = remaining.at_s + self._drain_settings.check_every_s * random.uniform(0.9, 1.0)
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
            sockets = [listening.fileno(), self._wake_reader.fileno()]
            ready, _, _ = select.select(sockets, [], [], min(left_s, HEARTBEAT_EVERY_S))
            if self._wake_reader.fileno() in ready:
                self._wake_reader.recv(4096)
                return
            if ready:
                wake_at_s = min([wake_at_s, *map(wake_time_s, _read_notified_due_times(listening))])

    def _open_drain(self) -> Drain:
        return self._drain_class(connect(self._engine), self._gateway, self._drain_settings, self._effects)

    def _wake(self) -> None:
        with suppress(OSError):  # the loop has ended
            self._wake_writer.send(b".")


def _read_notified_due_times(listening: psycopg.Connection[Any]) -> list[float]:
    """Return the due times in unread NOTIFYs, in seconds since 1970; 0 for one that is not a number."""
    due_times = []
    for notify in listening.notifies(timeout=0):
        try:
            due_times.append(float(notify.payload))
        except ValueError:
            due_times.append(0.0)
    return due_times


def _try_to_lead(listening: psycopg.Connection[Any]) -> bool:
    return bool(listening.execute("SELECT pg_try_advisory_lock(%s)", [LEADER]).fetchone() == (True,))
