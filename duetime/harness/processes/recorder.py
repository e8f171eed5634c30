"""Records the calls of a client in the history."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from duetime.clock import Instant
from duetime.interface import Notification, Scheduler
from duetime.runtime.jsonl import JsonLinesWriter


class Recorder(Scheduler):
    """A scheduler that writes an ``invoke`` before each call and the outcome of the transaction after it."""

    def __init__(self, scheduler: Scheduler, journal: JsonLinesWriter, *, client: int) -> None:
        self._scheduler = scheduler
        self._journal = journal
        self._client = client
        self._lines = 0
        self._open: list[str] = []
        self.started = Instant(0, 0)

    def schedule(self, notification: Notification, *, session: Session) -> None:
        self.schedule_many([notification], session=session)

    def schedule_many(self, notifications: Sequence[Notification], *, session: Session) -> None:
        wall_to_mono_ns = self.started.mono_ns - self.started.wall_ns
        self._invoke(
            {
                "op": notification.op,
                "f": "schedule",
                "key": notification.key,
                "revision": notification.revision,
                "due_ns": _wall_ns(notification.due_at) + wall_to_mono_ns,
            }
            for notification in notifications
        )
        self._scheduler.schedule_many(notifications, session=session)

    def cancel(self, key: str, *, revision: int, session: Session) -> None:
        self._invoke([{"op": f"{key}/{revision}", "f": "cancel", "key": key, "revision": revision}])
        self._scheduler.cancel(key, revision=revision, session=session)

    def acknowledge(self, op: str, *, because: str) -> None:
        """Acknowledge a call of a predecessor that was killed before its answer."""
        self._write([{"op": op, "type": "ok", "because": because}])

    def close(self, kind: str, error: Exception | None = None) -> None:
        """Write `kind` as the answer to every call since the last close."""
        details = {"error": f"{type(error).__name__}: {error}"[:300]} if error else {}
        self._write([{"op": op, "type": kind, **details} for op in self._open])
        self._open.clear()

    def _invoke(self, calls: Iterable[dict[str, object]]) -> None:
        invoked = [{**call, "type": "invoke"} for call in calls]
        self._write(invoked)
        self._open += [str(call["op"]) for call in invoked]

    def _write(self, records: Sequence[dict[str, object]]) -> None:
        """Write `records` with one timestamp: before the calls that they announce, or after those that they answer."""
        stamp = {"client": self._client, "at_ns": time.monotonic_ns()}
        self._journal.append_all({"i": i, **record, **stamp} for i, record in enumerate(records, start=self._lines))
        self._lines += len(records)


def _wall_ns(at: datetime) -> int:
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000
