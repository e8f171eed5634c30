"""When to drain: at the next due row, or when a transaction says that it brought an earlier one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from duetime.gateway import Gateway
from duetime.heartbeat import NOBODY_LOOKS, Heartbeat
from push_readmodel.deliver import drain, seconds_until_next
from push_readmodel.schedule import CHANNEL

log = logging.getLogger(__name__)

IDLE_S = 5.0
"""The longest sleep with nothing to wait for: after so long at most it is noticed that the database does not answer."""
HELD_ELSEWHERE_S = 0.25
"""How soon to look again at a due row that another server holds: the longest that its crash can delay the row."""
RECONNECT_S = 0.5
LOOKED = "looked into the database"

Drain = Callable[..., int]
"""``drain``, or what a variant has in its place."""


class DrainLoop:
    """Drains until told to stop, through any outage of the database; needs nothing else."""

    def __init__(
        self, engine: Engine, gateway: Gateway, drain: Drain = drain, *, heartbeat: Heartbeat = NOBODY_LOOKS
    ) -> None:
        self._engine = engine
        self._gateway = gateway
        self._drain = drain
        self._heartbeat = heartbeat
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End after the batch under way."""
        self._stopping.set()

    def run(self) -> None:
        """Drain and sleep in turn.

        Raises:
            Exception: anything but a database that is away; the process must not look healthy after that.
        """
        while not self._stopping.is_set():
            try:
                self._run_connected()
            except (OperationalError, InterfaceError, psycopg.OperationalError) as error:
                log.warning("database away, trying again in %.1f s: %s", RECONNECT_S, error)
                self._engine.dispose()
                self._stopping.wait(RECONNECT_S)

    def _run_connected(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as listening:
            listening.exec_driver_sql(f"LISTEN {CHANNEL}")
            driver = listening.connection.driver_connection
            if not isinstance(driver, psycopg.Connection):
                raise TypeError(f"the drain listens through psycopg, not {type(driver).__name__}")
            while not self._stopping.is_set():
                _forget_notifications(driver)
                due_in_s = seconds_until_next(listening)
                # In this order: a row that falls due after the look is slept for, however briefly.
                if due_in_s is None or due_in_s > 0:
                    self._sleep(driver, due_in_s or IDLE_S)
                elif self._drain(self._engine, self._gateway, stopping=self._between_batches) == 0:
                    self._sleep(driver, HELD_ELSEWHERE_S)

    def _sleep(self, driver: psycopg.Connection, seconds: float) -> None:
        """Sleep until `seconds` have passed, or until a NOTIFY, or until told to stop."""
        seconds = min(seconds, IDLE_S)
        self._heartbeat.beat(LOOKED, again_within_s=seconds)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
            # Slices only so that stop() is heard; waiting asks the database nothing.
            if any(True for _ in driver.notifies(timeout=min(left, 0.5), stop_after=1)):
                return

    def _between_batches(self) -> bool:
        """Whether to stop, asked before each batch; what was committed by then is a sign of life."""
        self._heartbeat.beat(LOOKED, again_within_s=0)
        return self._stopping.is_set()


def _forget_notifications(driver: psycopg.Connection) -> None:
    """Empty what has piled up: the look that follows sees whatever they were about."""
    for _ in driver.notifies(timeout=0):
        pass
