"""When to drain: when the next row is due, or when a transaction says that it brought an earlier one."""

from __future__ import annotations

import logging
import random
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from duetime.runtime.effects import NO_EFFECTS, Effects
from duetime.runtime.gateway import Gateway
from duetime.runtime.heartbeat import NO_HEARTBEAT, Heartbeat
from push_readmodel.drain import Drain, Look, connect
from push_readmodel.drain_settings import DEFAULT, DrainSettings
from push_readmodel.scheduler import CHANNEL

log = logging.getLogger(__name__)

IDLE_S = 60.0
"""The longest sleep: rows that are far from due are not told of, so every loop looks as often as that."""
STAND_BY_S = 0.25
"""How soon to look at a due row that another server has or will have: the longest that its crash can delay the row."""
RECONNECT_S = 0.5
ALIVE_EVERY_S = 5.0
LOOKED = "looked into the database"
WAITED = "found its connection to the database standing"
LEADER = 7319
"""The advisory lock of the one server that wakes when something falls due; the others come a moment later."""

AWAY = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
"""What a database raises that is not there, or is a standby now, by way of SQLAlchemy or without it."""

Submit = Callable[[Callable[[], None]], object]
"""Runs a function in another thread, of a pool that somebody else keeps."""


class DrainLoop:
    """Drains until told to stop, through any outage of the database; needs nothing else.

    submit: where deliveries run if the policy wants several at a time; the loop itself then only looks.
    """

    def __init__(
        self,
        engine: Engine,
        gateway: Gateway,
        drain: type[Drain] = Drain,
        *,
        policy: DrainSettings = DEFAULT,
        effects: Effects = NO_EFFECTS,
        heartbeat: Heartbeat = NO_HEARTBEAT,
        submit: Submit | None = None,
    ) -> None:
        self._engine = engine
        self._gateway = gateway
        self._drain = drain
        self._policy = policy
        self._effects = effects
        self._heartbeat = heartbeat
        self._submit = submit
        self._stopping = threading.Event()
        self._woken, self._waking = socket.socketpair()
        self._waking.setblocking(False)
        self._idle: list[Drain] = []
        self._busy = 0
        self._busy_lock = threading.Lock()
        self._got_on_at_s = time.monotonic()
        self._failure: Exception | None = None

    def stop(self) -> None:
        """End after the batch under way."""
        self._stopping.set()
        self._wake()

    def run(self) -> None:
        """Drain and sleep in turn.

        Raises:
            Exception: anything but a database that is away; the process must not look healthy after that.
        """
        with self._woken, self._waking:
            while not self._stopping.is_set():
                try:
                    with closing(connect(self._engine)) as listening, closing(self._open()) as drain:
                        self._run_connected(listening, drain)
                except AWAY as error:
                    log.warning("database away, trying again in %.1f s: %s", RECONNECT_S, error)
                    self._stopping.wait(RECONNECT_S)
                finally:
                    with self._busy_lock:
                        idle, self._idle = self._idle, []
                    for drain in idle:
                        drain.close()

    def _run_connected(self, listening: psycopg.Connection[Any], drain: Drain) -> None:
        listening.execute(f"LISTEN {CHANNEL}")
        leads = held = False
        while not self._stopping.is_set():
            arrived, look = self._drain_in_pool(drain) if self._submit else drain.drain_all(self._between_batches)
            if self._failure:
                raise self._failure
            # At the first time it may have come between the claim and the look; at the second somebody holds it.
            held, before = look.due and not arrived, held
            if look.due and not (held and before) and self._submit is None:
                # Read, though nothing of it is news: PostgreSQL keeps what nobody reads, for everybody.
                _told(listening)
                continue
            leads = leads or _try_to_lead(listening)
            self._sleep(listening, look, leads=leads)

    def _sleep(self, listening: psycopg.Connection[Any], look: Look, *, leads: bool) -> None:
        """Sleep until the next row is due, or may be free, or a NOTIFY tells of an earlier one."""
        behind_s = 0.0 if leads else STAND_BY_S * random.uniform(0.6, 1.0)

        def locally(due_s: float) -> float:
            return look.at_s + (due_s - self._policy.look_ahead_s - look.now_s) + behind_s

        wake_at_s = look.at_s + IDLE_S * random.uniform(0.9, 1.0)
        if look.next_s is not None:
            wake_at_s = min(wake_at_s, locally(look.next_s))
        if look.due:
            wake_at_s = min(wake_at_s, look.at_s + STAND_BY_S)
        # First of all: what came while this connection was asked something else is not to be seen on its socket.
        wake_at_s = min([wake_at_s, *map(locally, _told(listening))])
        while (left_s := wake_at_s - time.monotonic()) > 0 and not self._stopping.is_set():
            # Nothing is asked of the database meanwhile; that the connection breaks is heard.
            if self._is_progressing():
                self._heartbeat.beat(WAITED, again_within_s=min(left_s, ALIVE_EVERY_S))
            ready, _, _ = select.select([listening.fileno(), self._woken.fileno()], [], [], min(left_s, ALIVE_EVERY_S))
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
                return
            if ready:
                wake_at_s = min([wake_at_s, *map(locally, _told(listening))])

    def _between_batches(self) -> bool:
        """Whether to stop, asked before each batch; what was committed by then is a sign of life."""
        self._got_on_at_s = time.monotonic()
        if self._submit is None:
            self._heartbeat.beat(LOOKED, again_within_s=0)
        return self._stopping.is_set()

    def _open(self) -> Drain:
        return self._drain(connect(self._engine), self._gateway, self._policy, self._effects)

    def _wake(self) -> None:
        with suppress(OSError):  # the loop has ended
            self._waking.send(b".")

    # Several deliveries at a time

    def _drain_in_pool(self, drain: Drain) -> tuple[int, Look]:
        """Look, and have as many drain in the pool as are wanted; nothing of a delivery happens in this thread."""
        look = drain.look()
        for _ in range(self._policy.threads - self._busy if look.due else 0):
            with self._busy_lock:
                self._busy += 1
            if self._submit is not None:
                self._submit(self._pool_task)
        return 0, look

    def _pool_task(self) -> None:
        arrived = 0
        try:
            with self._busy_lock:
                drain = self._idle.pop() if self._idle else None
            drain = drain or self._open()
            try:
                arrived, _ = drain.drain_all(self._between_batches)
            except BaseException:
                drain.close()
                raise
            with self._busy_lock:
                self._idle.append(drain)
            if self._stopping.is_set():
                drain.close()
        except AWAY as error:
            log.warning("database away: %s", error)
        except Exception as error:  # noqa: BLE001 - raised again by the loop
            self._failure = error
        finally:
            with self._busy_lock:
                self._busy -= 1
            # Who found nothing wakes nobody: what is due is held elsewhere, and will be looked at in a moment anyway.
            if arrived or self._failure:
                self._wake()

    def _is_progressing(self) -> bool:
        """Whether not every thread has been at the same batch for long."""
        return self._busy < self._policy.threads or time.monotonic() - self._got_on_at_s < ALIVE_EVERY_S


def _told(listening: psycopg.Connection[Any]) -> list[float]:
    """When those are due that NOTIFYs told of, in seconds since 1970; now, if one tells nothing that we understand."""
    dues = []
    for one in listening.notifies(timeout=0):
        try:
            dues.append(float(one.payload))
        except ValueError:
            dues.append(0.0)
    return dues


def _try_to_lead(listening: psycopg.Connection[Any]) -> bool:
    return bool(listening.execute("SELECT pg_try_advisory_lock(%s)", [LEADER]).fetchone() == (True,))
