"""The settings of a drain."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from duetime.errors import BadUsage

MAX_BATCH_ROWS = 1000
"""Maximum rows in one transaction. With a fast gateway this limits how many deliveries a crash duplicates."""
BATCH_TIME_S = 0.05
"""Commit after delivering for this time, or after the call in progress if that takes longer.

With a slow gateway this limits how many deliveries a crash duplicates, and how long a cancel of a claimed row waits.
"""
CHECK_EVERY_S = 5.0
"""Check the table at least this often. The loop writes its heartbeat as often, so this adds no wake-ups."""
VANISHED_AFTER_S = 30
"""Longer than a network may be slow or silent. Until then the rows of a machine that has vanished stay locked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainSettings:
    """How a worker drains.

    batch_most: maximum rows in one transaction; with 1 a crash duplicates at most one delivery.
    threads: deliveries at a time; each has its own connection.
    look_ahead_s: claim rows this many seconds before they are due, at most 0.5. They are delivered on time instead of a
    round trip late. The price: a cancel or a new revision of a claimed row is too late, and a new row that is due
    before the claimed ones is delivered after them.
    check_every_s: the longest sleep. An overdue row that no NOTIFY announced is found within this time: a row of a
    restored dump, and after the database's clock was set. A check takes 0.4 ms in a table of a million rows.
    max_attempts: give a notification up after this many failed deliveries, and move it to failed_notifications, where
    nothing delivers it; 0 to retry for ever.
    metrics_port: port of the worker's Prometheus metrics on loopback; 0 for none.
    vanished_after_s: a machine that has not answered for so long has vanished; then its rows are free.
    """

    batch_most: int = MAX_BATCH_ROWS
    threads: int = 1
    look_ahead_s: float = 0.0
    check_every_s: float = CHECK_EVERY_S
    max_attempts: int = 0
    metrics_port: int = 0
    vanished_after_s: int = VANISHED_AFTER_S

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read ``DUETIME_BATCH_MOST``, ``DUETIME_THREADS``, ``DUETIME_LOOK_AHEAD_S``, ``DUETIME_CHECK_EVERY_S``,
        ``DUETIME_MAX_ATTEMPTS``, ``DUETIME_METRICS_PORT`` and ``DUETIME_VANISHED_AFTER_S``.

        Raises:
            BadUsage: a variable is not a number, or out of bounds.
        """

        def number(name: str, default: float, least: float, most: float) -> float:
            text = environment.get(name, str(default))
            try:
                value = float(text)
            except ValueError:
                value = float("nan")
            if not least <= value <= most:
                raise BadUsage(f"{name} is {text!r}; write a number from {least:g} to {most:g}")
            return value

        def whole(name: str, default: int, least: int, most: int) -> int:
            value = number(name, default, least, most)
            if not value.is_integer():
                raise BadUsage(f"{name} is {environment[name]!r}; write a whole number from {least} to {most}")
            return int(value)

        return cls(
            batch_most=whole("DUETIME_BATCH_MOST", MAX_BATCH_ROWS, 1, 10_000),
            threads=whole("DUETIME_THREADS", 1, 1, 400),
            look_ahead_s=number("DUETIME_LOOK_AHEAD_S", 0.0, 0, 0.5),
            check_every_s=number("DUETIME_CHECK_EVERY_S", CHECK_EVERY_S, 0.1, 600),
            max_attempts=whole("DUETIME_MAX_ATTEMPTS", 0, 0, 1000),
            metrics_port=whole("DUETIME_METRICS_PORT", 0, 0, 65_535),
            vanished_after_s=whole("DUETIME_VANISHED_AFTER_S", VANISHED_AFTER_S, 2, 900),
        )


DEFAULT = DrainSettings()
