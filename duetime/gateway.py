"""The outside world. ``deliver()`` is the only call that a design makes outward.

The gateway of a run is a file: what stands in it did reach somebody, and nothing else did.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from duetime.journal import Journal

if TYPE_CHECKING:
    from duetime.interface import Notification
    from duetime.settings import Settings


class Gateway(Protocol):
    """Whoever carries a notification to its recipient."""

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        """Carry `notification` to its recipient; returning means that it arrived.

        Raises:
            Exception: it may or may not have arrived.
        """


class JournalGateway:
    """Records each delivery as one line, half-way through the time that the delivery takes.

    The instant is ``time.monotonic_ns()``: one axis for every process of a Linux host, which no wall clock moves.
    """

    def __init__(self, path: Path, *, worker: str, delivery_time: timedelta) -> None:
        self._journal = Journal(path)
        self._worker = worker
        self._half_s = delivery_time.total_seconds() / 2

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        time.sleep(self._half_s)
        self.record(notification.key, notification.revision, attempt=attempt)
        time.sleep(self._half_s)

    def record(self, key: str, revision: int, *, attempt: int, **more: int) -> None:
        """Write the delivery's line."""
        self._journal.append(
            {
                "op": f"{key}/{revision}",
                "key": key,
                "revision": revision,
                "worker": self._worker,
                "attempt": attempt,
                "at_ns": time.monotonic_ns(),
                **more,
            }
        )

    def close(self) -> None:
        self._journal.close()


def gateway_from(settings: Settings) -> JournalGateway:
    """The gateway that this process was told to use."""
    return JournalGateway(settings.deliveries, worker=settings.server, delivery_time=settings.delivery_time)
