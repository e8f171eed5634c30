"""The gateway, through which every design delivers its notifications.

The gateway of a run is a file of deliveries: a notification reached its recipient if and only if the file has its line.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from json.encoder import encode_basestring_ascii as _quote
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from duetime.runtime.delivery_phases import PhaseRecorder, RecordedDelivery
from duetime.runtime.failpoints import Failpoints
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE, AnswerLost, apply_fault
from duetime.runtime.jsonl import JsonLinesWriter

if TYPE_CHECKING:
    from duetime.interface import Notification
    from duetime.settings import Settings

DELIVER_TO = "DUETIME_DELIVER_TO"
"""The variable with the address to which this project's designs deliver over HTTP, as libraries do; mostly not set."""


class GiveUp(Exception):
    """Raised by a gateway if no retry can succeed, for instance because the mailbox does not exist.

    A design that keeps what it gives up does so at once; any other design treats it as an ordinary error.
    """


class WorkerGone(Exception):
    """The worker that asked for the delivery has ended, so nothing more is done for it."""


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
        phases: PhaseRecorder | None = None,
    ) -> None:
        """fault_file: exists while a fault is injected into the gateway, and describes it.

        phases: of a run in which a fault hits a worker in a phase of a delivery.
        """
        self._deliveries = JsonLinesWriter(path)
        self._worker = worker
        self._worker_field = f'"worker":{_quote(worker)}'
        self._half_s = delivery_time.total_seconds() / 2
        self._fault_file = fault_file
        self._fault_file_name = str(fault_file or "")
        self._failpoints = failpoints or Failpoints({})
        self._phases = phases

    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        if delivery := self.carry_out(notification, attempt=attempt):
            delivery.reach("answered")

    def carry_out(
        self, notification: Notification, *, attempt: int, worker_gone: Callable[[], bool] | None = None
    ) -> RecordedDelivery | None:
        """Do everything but answer. Returns the delivery whose phases are recorded, if they are.

        worker_gone: returns True if the worker has ended, which a gateway in its process need not ask.

        Raises:
            WorkerGone: nothing was recorded.
        """
        if self._phases is None:
            self._carry_out(notification, attempt, worker_gone, None)
            return None
        delivery = self._phases.begin(notification.op)
        try:
            self._carry_out(notification, attempt, worker_gone, delivery)
        except Exception as error:
            delivery.reach("dropped" if isinstance(error, WorkerGone) else "failed")
            raise
        return delivery

    def _carry_out(
        self,
        notification: Notification,
        attempt: int,
        worker_gone: Callable[[], bool] | None,
        delivery: RecordedDelivery | None,
    ) -> None:
        self._failpoints.hit("before_deliver")
        answered = self._apply_fault(notification.key)
        if self._half_s:
            time.sleep(self._half_s)
        if worker_gone and worker_gone():
            raise WorkerGone
        self.record(notification.key, notification.revision, attempt=attempt)
        if delivery:
            delivery.reach("recorded")
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
        if self._phases:
            self._phases.close()

    def _apply_fault(self, key: str) -> bool:
        """Apply the injected fault, if there is one. Return True if the answer will arrive."""
        # Checked at each delivery: trying to open a missing file takes as long as the rest of the delivery.
        if self._fault_file is None or not os.access(self._fault_file_name, os.F_OK):
            return True
        return apply_fault(self._fault_file, key=key, worker=self._worker)


def gateway_from(settings: Settings) -> JournalGateway:
    """Return the gateway of this process, with its failpoints; one that sends HTTP where `DELIVER_TO` is set."""
    if url := os.environ.get(DELIVER_TO):
        from duetime.runtime.http_gateway import HttpGateway  # most workers need no HTTP

        return HttpGateway(url, settings)
    failpoints = Failpoints()
    # A worker without sessions commits none, and one that forks for each job would import them in each.
    if "sqlalchemy.orm" in sys.modules:
        failpoints.watch()
    return JournalGateway(
        settings.deliveries,
        worker=settings.worker,
        delivery_time=settings.delivery_time,
        fault_file=settings.deliveries.with_name(GATEWAY_FAULT_FILE),
        failpoints=failpoints,
        phases=PhaseRecorder.of_run(settings.deliveries, worker=settings.worker),
    )
