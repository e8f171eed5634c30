"""Phases of a delivery: each gateway records them, and holds one delivery in a phase until the harness has hit it.

Only runs with such a fault have the file of the phases, because recording them takes longer than a delivery.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

from duetime.runtime.jsonl import JsonLinesWriter, complete_records, write_at_once

DeliveryPhase = Literal["before", "between", "after"]
"""before: nothing is recorded. between: the line is written, and the worker has no answer. after: it has its answer."""
Step = Literal["begun", "recorded", "answered", "failed", "dropped"]
"""failed: the worker got an error. dropped: the worker's connection had ended, so it got no answer."""

PHASE_OF_TARGET: Final[Mapping[str, DeliveryPhase]] = {
    "before_delivery": "before",
    "delivering": "between",
    "after_delivery": "after",
}
"""The phase in which a fault hits a worker, by the fault's target."""
FIRST_STEP: Final[Mapping[DeliveryPhase, Step]] = {"before": "begun", "between": "recorded", "after": "answered"}
PHASES_FILE = "delivery_phases.jsonl"
HOLD_FILE = "gateway_hold.json"
"""Both are beside the file of deliveries."""
CHECK_EVERY_S = 0.001
_numbers = count()
"""Of this process, because it may have several recorders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A request to the gateways: hold the first delivery that is its worker's `nth` in `phase` from now on.

    In the phase ``after`` the delivery is only named and not held, because the worker has its answer.
    armed_ns: the time of the request. from_byte: the size of the file of the phases at that time.
    """

    phase: DeliveryPhase
    nth: int
    armed_ns: int
    from_byte: int

    @classmethod
    def arm(cls, deliveries: Path, phase: DeliveryPhase, *, nth: int) -> Hold:
        """Begin the hold in every gateway that records to `deliveries`."""
        size = deliveries.with_name(PHASES_FILE).stat().st_size
        hold = cls(phase=phase, nth=nth, armed_ns=time.monotonic_ns(), from_byte=size)
        write_at_once(deliveries.with_name(HOLD_FILE), asdict(hold))
        return hold

    @classmethod
    def read(cls, deliveries: Path) -> Hold | None:
        try:
            return cls(**json.loads(deliveries.with_name(HOLD_FILE).read_text()))
        except FileNotFoundError:
            return None

    def chosen(self, deliveries: Path) -> Mapping[str, Any] | None:
        """Return the record of the delivery that was chosen; None until one is."""
        try:
            return dict(json.loads(self._chosen_file(deliveries).read_text()))
        except FileNotFoundError:
            return None

    def release(self, deliveries: Path) -> None:
        """End the hold. Safe to repeat."""
        if self.read(deliveries) == self:
            deliveries.with_name(HOLD_FILE).unlink(missing_ok=True)
        self._chosen_file(deliveries).unlink(missing_ok=True)

    def choose(self, deliveries: Path, record: Mapping[str, Any]) -> bool:
        """Choose the delivery of `record`. Returns False if another one was chosen before."""
        draft = deliveries.with_name(f"{HOLD_FILE}.{record['id']}")
        draft.write_text(json.dumps(record))
        try:
            # A link fails if the name exists, so only one process can choose, and the file is never half written.
            os.link(draft, self._chosen_file(deliveries))
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True

    def _chosen_file(self, deliveries: Path) -> Path:
        return deliveries.with_name(f"{HOLD_FILE}.chosen-{self.armed_ns}")


class PhaseRecorder:
    """Records the phases of the deliveries of one worker."""

    def __init__(self, deliveries: Path, *, worker: str) -> None:
        self.deliveries = deliveries
        self.worker = worker
        self._file = deliveries.with_name(PHASES_FILE)
        self._writer = JsonLinesWriter(self._file)

    @classmethod
    def of_run(cls, deliveries: Path, *, worker: str) -> PhaseRecorder | None:
        """Return the recorder for a run that records the phases; None for any other."""
        return cls(deliveries, worker=worker) if deliveries.with_name(PHASES_FILE).exists() else None

    def begin(self, op: str) -> RecordedDelivery:
        """Record that a delivery has begun, and hold it there if it is chosen."""
        # The process id is read here, because a pool forks after the gateway was made.
        delivery = RecordedDelivery(self, f"{os.getpid()}-{next(_numbers)}", op)
        delivery.reach("begun")
        return delivery

    def append(self, record: Mapping[str, Any]) -> None:
        self._writer.append(record)

    def close(self) -> None:
        self._writer.close()

    def count_since(self, hold: Hold, step: Step) -> int:
        """Return how many deliveries of this worker have come to `step` since `hold` was armed."""
        records = complete_records(self._file, from_byte=hold.from_byte)
        return sum(record["worker"] == self.worker and record["step"] == step for record in records)


class RecordedDelivery:
    """One delivery whose phases are recorded."""

    def __init__(self, recorder: PhaseRecorder, identity: str, op: str) -> None:
        self._recorder = recorder
        self._common = {"id": identity, "worker": recorder.worker, "op": op}

    def reach(self, step: Step) -> None:
        """Record `step`, and stay in it while a hold wants this delivery there."""
        record = {**self._common, "step": step, "at_ns": time.monotonic_ns()}
        self._recorder.append(record)
        deliveries = self._recorder.deliveries
        hold = Hold.read(deliveries)
        if hold is None or FIRST_STEP[hold.phase] != step or self._recorder.count_since(hold, step) < hold.nth:
            return
        if hold.choose(deliveries, record) and hold.phase != "after":
            # Compared, because another hold may follow at once in the same file.
            while Hold.read(deliveries) == hold:
                time.sleep(CHECK_EVERY_S)
