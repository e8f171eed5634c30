"""Faults of the gateway: deliveries that are slow, refused, hanging or without an answer.

A fault is a file that exists while the fault is active; every gateway of a run checks it at each delivery.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, assert_never

from duetime.runtime.jsonl import append_once, write_at_once

Mode = Literal["slow", "refuse", "hang", "lose_answer"]
CHECK_EVERY_S = 0.02
GATEWAY_FAULT_FILE = "gateway_fault.json"
"""Beside the file of deliveries, while a fault is active."""


class GatewayRefused(Exception):
    """The gateway did not accept the notification."""


class AnswerLost(Exception):
    """The gateway accepted the notification, but its answer was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedGatewayFault:
    """A fault of the gateway.

    slow: each delivery takes `seconds` longer. refuse: each delivery fails at once. hang: each delivery waits until the
    fault ends, and then fails. lose_answer: the notification arrives, but the delivery fails.
    only: prefixes of the affected keys; empty for all keys.
    """

    mode: Mode
    seconds: float = 0.0
    only: tuple[str, ...] = ()

    def begin(self, file: Path) -> None:
        """Activate the fault for every gateway that checks `file`."""
        write_at_once(file, asdict(self))

    @staticmethod
    def end(file: Path) -> None:
        file.unlink(missing_ok=True)

    @staticmethod
    def hit_count(file: Path) -> int:
        """Return the number of deliveries that faults in `file` have affected so far."""
        hits = _hits_file(file)
        return hits.read_bytes().count(b"\n") if hits.exists() else 0

    @classmethod
    def read(cls, file: Path) -> InjectedGatewayFault | None:
        try:
            fields: Mapping[str, Any] = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        return cls(**{**fields, "only": tuple(fields["only"])})

    def affects(self, key: str) -> bool:
        return not self.only or key.startswith(self.only)


def apply_fault(file: Path, *, key: str, worker: str) -> bool:
    """Apply the fault in `file`, if any, to a delivery. Return True if its answer will arrive.

    Raises:
        GatewayRefused: the delivery failed; the notification does not arrive.
    """
    fault = InjectedGatewayFault.read(file)
    if fault is None or not fault.affects(key):
        return True
    append_once(_hits_file(file), {"key": key, "worker": worker, "at_ns": time.monotonic_ns()})
    match fault.mode:
        case "slow":
            time.sleep(fault.seconds)
        case "refuse":
            raise GatewayRefused(f"the gateway refused {key}")
        case "hang":
            # Compared, because another fault may follow at once in the same file.
            while InjectedGatewayFault.read(file) == fault:
                time.sleep(CHECK_EVERY_S)
            raise GatewayRefused(f"the gateway hung and did not accept {key}")
        case "lose_answer":
            return False
        case _:
            assert_never(fault.mode)
    return True


def _hits_file(file: Path) -> Path:
    return file.with_suffix(".hits")
