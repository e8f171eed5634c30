"""The outside world, ``deliver()``, and what the application wants done inside its own database instead.

The gateway of a run is a file: what stands in it did reach somebody, and nothing else did.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from json.encoder import encode_basestring_ascii as _quote
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal, Protocol, assert_never

from duetime.errors import BadUsage
from duetime.runtime.failpoints import Failpoints
from duetime.runtime.jsonl import Journal, append_once

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


class GatewayRefused(Exception):
    """The outside world did not take the notification."""


class AnswerLost(Exception):
    """The outside world took the notification, and its answer got lost on the way back."""


Mode = Literal["slow", "refuse", "hang", "lose_answer"]
LOOK_EVERY_S = 0.02
GATEWAY_FAULT_FILE = "trouble.json"
"""Beside the file of deliveries, while there is any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedGatewayFault:
    """What is wrong with the outside world, for as long as the file that says so is there.

    slow: each delivery takes `seconds` longer. hang: none ends before the trouble does, and then it has failed.
    only: beginnings of the keys that it concerns; empty for all.
    """

    mode: Mode
    seconds: float = 0.0
    only: tuple[str, ...] = ()

    def begin(self, file: Path) -> None:
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(file)

    @staticmethod
    def end(file: Path) -> None:
        file.unlink(missing_ok=True)

    @staticmethod
    def hit_count(file: Path) -> int:
        """How many deliveries have met with trouble from `file` so far."""
        felt = _hits_file(file)
        return felt.read_bytes().count(b"\n") if felt.exists() else 0

    @classmethod
    def read(cls, file: Path) -> InjectedGatewayFault | None:
        try:
            written: Mapping[str, Any] = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        return cls(**{**written, "only": tuple(written["only"])})

    def concerns(self, key: str) -> bool:
        return not self.only or key.startswith(self.only)


class JournalGateway:
    """Records each delivery as one line, half-way through the time that the delivery takes.

    The instant is ``time.monotonic_ns()``: one axis for every process of a Linux host, which no wall clock moves.
    trouble: the file that says what is wrong at the moment, if anything is.
    """

    def __init__(
        self,
        path: Path,
        *,
        worker: str,
        delivery_time: timedelta,
        gateway_fault: Path | None = None,
        failpoints: Failpoints | None = None,
    ) -> None:
        self._journal = Journal(path)
        self._worker = worker
        self._by = f'"worker":{_quote(worker)}'
        self._half_s = delivery_time.total_seconds() / 2
        self._gateway_fault = gateway_fault
        self._gateway_fault_name = str(gateway_fault or "")
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
        # Put together here: to encode a dictionary takes longer than all the rest of a delivery.
        quoted, others = _quote(key), "".join(f',"{name}":{number}' for name, number in more.items()) if more else ""
        self._journal.append_line(
            f'{{"op":{quoted[:-1]}/{revision}","key":{quoted},"revision":{revision},{self._by},'
            f'"attempt":{attempt},"at_ns":{time.monotonic_ns()}{others}}}'
        )

    def close(self) -> None:
        self._journal.close()

    def _apply_fault(self, key: str) -> bool:
        """Go through the trouble of the moment; whether the answer will come back."""
        file = self._gateway_fault
        # Asked at each delivery, and mostly in vain: opening what is not there takes as long as the rest of it.
        if file is None or not os.access(self._gateway_fault_name, os.F_OK):
            return True
        gateway_fault = InjectedGatewayFault.read(file)
        if gateway_fault is None or not gateway_fault.concerns(key):
            return True
        append_once(_hits_file(file), {"key": key, "worker": self._worker, "at_ns": time.monotonic_ns()})
        match gateway_fault.mode:
            case "slow":
                time.sleep(gateway_fault.seconds)
            case "refuse":
                raise GatewayRefused(f"the gateway refuses {key}")
            case "hang":
                # Another may follow at once, under the same name.
                while InjectedGatewayFault.read(file) == gateway_fault:
                    time.sleep(LOOK_EVERY_S)
                raise GatewayRefused(f"the gateway hung, and never took {key}")
            case "lose_answer":
                return False
            case _:
                assert_never(gateway_fault.mode)
        return True


def gateway_from(settings: Settings) -> JournalGateway:
    """The gateway that this process was told to use."""
    failpoints = Failpoints()
    failpoints.watch()
    return JournalGateway(
        settings.deliveries,
        worker=settings.worker,
        delivery_time=settings.delivery_time,
        gateway_fault=settings.deliveries.with_name(GATEWAY_FAULT_FILE),
        failpoints=failpoints,
    )


class Effects:
    """What is done inside the application's database when it is due, instead of being delivered.

    statements: for each such kind of notification one in SQL, with ``%(…)s`` for the payload's fields, ``op`` and
    ``worker``.
    """

    def __init__(self, statements: Mapping[str, str], *, worker: str) -> None:
        self._statements = statements
        self._worker = worker

    def of(self, notification: Notification) -> tuple[str, dict[str, Any]] | None:
        """The statement and its parameters, if `notification` is to be done inside the database."""
        statement = self._statements.get(notification.kind)
        if statement is None:
            return None
        return statement, {**notification.payload, "op": notification.op, "worker": self._worker}


NO_EFFECTS = Effects({}, worker="")


def effects_from(settings: Settings) -> Effects:
    """The effects of the application that this process was told of.

    Raises:
        BadUsage: there is nothing of that name.
    """
    try:
        statements = resolve_name(settings.effects) if settings.effects else {}
    except (ImportError, AttributeError, ValueError) as error:
        raise BadUsage(f"DUETIME_EFFECTS is {settings.effects!r}; write package.module:attribute ({error})") from error
    return Effects(statements, worker=settings.worker)


def _hits_file(file: Path) -> Path:
    return file.with_suffix(".felt")
