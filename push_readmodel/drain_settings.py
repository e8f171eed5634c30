"""What a server of the read model can be told: how much at once, how many at a time, how early to get ready."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from duetime.errors import BadUsage

BATCH_MOST = 1000
"""Rows in one transaction at most: what a crash can repeat when the gateway is quick."""
BATCH_TAKES_S = 0.05
"""For so long one transaction delivers: what a crash can repeat when the gateway is slow, and how long a cancel that
comes too late has to wait to be told so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainSettings:
    """How a server drains.

    batch_most: rows in one transaction at most; with 1 a crash repeats no more than one delivery.
    threads: deliveries at a time; each has a connection of its own.
    look_ahead_s: how many seconds before they are due rows are claimed, 0.5 at most. They are delivered on time then,
    instead of a round trip late; a cancel or a new revision that comes within these seconds waits, and comes too late,
    and what is scheduled to be due before them waits as well.
    metrics_port: where Prometheus finds this server's figures, on loopback; 0 for none.
    """

    batch_most: int = BATCH_MOST
    threads: int = 1
    look_ahead_s: float = 0.0
    metrics_port: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read ``DUETIME_BATCH_MOST``, ``DUETIME_THREADS``, ``DUETIME_LOOK_AHEAD_S`` and ``DUETIME_METRICS_PORT``.

        Raises:
            BadUsage: one of them is not a number, or out of its bounds.
        """

        def number(name: str, default: float, least: float, most: float) -> float:
            written = environment.get(name, str(default))
            try:
                value = float(written)
            except ValueError:
                value = float("nan")
            if not least <= value <= most:
                raise BadUsage(f"{name} is {written!r}; write a number from {least:g} to {most:g}")
            return value

        return cls(
            batch_most=int(number("DUETIME_BATCH_MOST", BATCH_MOST, 1, 10_000)),
            threads=int(number("DUETIME_THREADS", 1, 1, 400)),
            look_ahead_s=number("DUETIME_LOOK_AHEAD_S", 0.0, 0, 0.5),
            metrics_port=int(number("DUETIME_METRICS_PORT", 0, 0, 65_535)),
        )


DEFAULT = DrainSettings()
