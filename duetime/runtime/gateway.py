"""The gateway, through which every design delivers its notifications.

The gateway of a run is a file of deliveries: a notification reached its recipient if and only if the file has its line.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from json.encoder import encode_basestring_ascii as _quote
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from duetime.runtime.failpoints import Failpoints
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE, AnswerLost, apply_fault
from duetime.runtime.jsonl import JsonLinesWriter

if TYPE_CHECKING:
    from duetime.interface import Notification
    from duetime.settings import Settings


class GiveUp(Exception):
    """Raised by a gateway if no retry can succeed, for instance because the mailbox does not exist.

    A design that keeps what it gives up does so at once; any other design treats it as an ordinary error.
    """


class Gateway(Protocol):
    """Delivers notifications to their recipients."""

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        """Deliver `notification`. Returning means that it arrived.

        Raises:
            GiveUp: it did not arrive, and never will.
            Exception: it may or may not have arrived.
        """


class JournalGateway:
    """Records each delivery as one line, half-way through the delivery time.

    The line's time is ``time.monotonic_ns()``: all processes of a Linux host share it, and setting a clock does not
    change it.
    """

    def __init__(
        self,
        path: Path,
        *,
        worker: str,
        delivery_time: timedelta,
        fault_file: Path | None = None,
        failpoints: Failpoints | None = None,
    ) -> None:
        """fault_file: exists while a fault is injected into the gateway, and describes it."""
        self._deliveries = JsonLinesWriter(path)
        self._worker = worker
        self._worker_field = f'"worker":{_quote(worker)}'
        self._half_s = delivery_time.total_seconds() / 2
        self._fault_file = fault_file
        self._fault_file_name = str(fault_file or "")
        self._failpoints = failpoints or Failpoints({})

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        self._failpoints.hit("before_deliver")
        answered = self._apply_fault(notification.key)
        if self._half_s:
            time.sleep(self._half_s)
        self.record(notification.key, notification.revision, attempt=attempt)
        if self._half_s:
            time.sleep(self._half_s)
        if not answered:
            raise AnswerLost(f"no answer about {notification.op}")
        self._failpoints.hit("after_deliver")

    def record(self, key: str, revision: int, *, attempt: int, **more: int) -> None:
        """Write the delivery's line."""
        # Formatted by hand: encoding a dictionary takes longer than all the rest of a delivery.
        quoted, others = _quote(key), "".join(f',"{name}":{number}' for name, number in more.items()) if more else ""
        self._deliveries.append_line(
            f'{{"op":{quoted[:-1]}/{revision}","key":{quoted},"revision":{revision},{self._worker_field},'
            f'"attempt":{attempt},"at_ns":{time.monotonic_ns()}{others}}}'
        )

    def close(self) -> None:
        self._deliveries.close()

    def _apply_fault(self, key: str) -> bool:
        """Apply the injected fault, if there is one. Return True if the answer will arrive."""
        # Checked at each delivery: trying to open a missing file takes as long as the rest of the delivery.
        if self._fault_file is None or not os.access(self._fault_file_name, os.F_OK):
            return True
        return apply_fault(self._fault_file, key=key, worker=self._worker)


def gateway_from(settings: Settings) -> JournalGateway:
    """Return the gateway of this process, with its failpoints."""
    failpoints = Failpoints()
    failpoints.watch()
    return JournalGateway(
        settings.deliveries,
        worker=settings.worker,
        delivery_time=settings.delivery_time,
        fault_file=settings.deliveries.with_name(GATEWAY_FAULT_FILE),
        failpoints=failpoints,
    )
