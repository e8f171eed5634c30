"""Hit a worker in a chosen phase of a delivery: the gateway holds it there, and the files say where it was."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duetime.faults.fault import Sleeper, wait_for
from duetime.runtime.delivery_phases import PHASES_FILE, DeliveryPhase, Hold
from duetime.runtime.jsonl import complete_records

CHECK_EVERY_S = 0.0005
"""A worker that has its answer acknowledges within milliseconds."""
DROPPED_WITHIN_S = 2.0
ENDED = ("answered", "failed")
"""The steps after which a delivery is no longer in flight."""
WORDS: Mapping[DeliveryPhase, str] = {
    "before": "before the delivery of",
    "between": "between the delivery and the answer of",
    "after": "after the answer of",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """A delivery at the time of the fault. line: of deliveries.jsonl; 0 if there is none. steps: when each came."""

    identity: str
    op: str
    line: int
    steps: Mapping[str, int]

    @property
    def phase(self) -> DeliveryPhase:
        if "answered" in self.steps:
            return "after"
        return "between" if self.line else "before"

    def to_json(self) -> dict[str, object]:
        times = {f"{step}_ns": at_ns for step, at_ns in self.steps.items()}
        return {"op": self.op, "phase": self.phase, "line": self.line or None, **times}


class WorkerInDelivery:
    """The worker whose `nth` delivery is the first to come to `phase`, and that delivery.

    over_http: the gateway is a process of its own, and outlives the worker.
    """

    def __init__(self, deliveries: Path, phase: DeliveryPhase, *, nth: int, over_http: bool) -> None:
        self.worker = ""
        self.since_ns = 0
        """When the worker was started; what it began before has nothing to do with this fault."""
        self._deliveries = deliveries
        self._phase = phase
        self._nth = nth
        self._over_http = over_http
        self._hold: Hold | None = None
        self._identity = ""

    def arm(self) -> Hold:
        """Ask the gateways to hold a delivery from now on."""
        self._hold = self._hold or Hold.arm(self._deliveries, self._phase, nth=self._nth)
        return self._hold

    def wait_chosen(self, stop: Sleeper, *, within_s: float) -> str:
        """Wait until a delivery is held. Return its description; ``worker`` is the worker.

        Raises:
            FaultNotVerified: no delivery came to the phase.
        """
        hold = self.arm()
        try:
            wait_for(
                lambda: hold.chosen(self._deliveries) is not None,
                stop,
                within_s=within_s,
                message=f"delivery number {self._nth} of no worker came to the phase {self._phase!r}",
                every_s=CHECK_EVERY_S,
            )
            chosen = hold.chosen(self._deliveries) or {}
        except BaseException:
            self.release()
            raise
        self.worker, self._identity = chosen["worker"], chosen["id"]
        since_ms = (time.monotonic_ns() - chosen["at_ns"]) / 1e6
        return f", {since_ms:.1f} ms after it was seen {WORDS[self._phase]} {chosen['op']}"

    def release(self) -> None:
        if self._hold:
            self._hold.release(self._deliveries)

    def wait_dropped(self, stop: Sleeper) -> None:
        """Wait until the gateway over HTTP has dropped what it held. A gateway in the worker's process ended with it.

        Raises:
            FaultNotVerified: it did not in time.
        """
        if self._over_http:
            wait_for(
                lambda: any(step in self._own().steps for step in ("dropped", *ENDED)),
                stop,
                within_s=DROPPED_WITHIN_S,
                message=f"the gateway did not drop the request of {self.worker}",
            )

    def measure(self, hit_ns: int) -> tuple[Mapping[str, object], str]:
        """Return what the files say about the delivery, for the record, and in words."""
        own = self._own()
        rest = [each for each in self._of_worker() if each.identity != own.identity]
        others = [each for each in rest if not any(step in each.steps for step in ENDED)]
        record = {"worker": self.worker, **own.to_json(), "others": [each.to_json() for each in others]}
        words = f"hit {WORDS[own.phase]} {own.op}: {self._words(own, hit_ns)}"
        if others:
            words += "; in flight too: " + ", ".join(f"{each.op} ({each.phase})" for each in others)
        # Its acknowledgement may be missing too, in a design that commits several at once.
        if answered := [each for each in rest if "answered" in each.steps]:
            last = max(answered, key=lambda each: each.steps["answered"])
            record["last_answered"] = last.to_json()
            words += (
                f"; the last answer before was of {last.op}, {(hit_ns - last.steps['answered']) / 1e6:.1f} ms earlier"
            )
        return record, words

    def _words(self, own: InFlight, hit_ns: int) -> str:
        begun_ms = (hit_ns - own.steps["begun"]) / 1e6
        if own.phase == "before":
            dropped = ", its request was dropped" if "dropped" in own.steps else ""
            return f"begun {begun_ms:.1f} ms earlier, no line of it in deliveries.jsonl{dropped}"
        if own.phase == "between":
            return f"line {own.line} of deliveries.jsonl was written, and no answer was sent"
        answered_ms = (hit_ns - own.steps["answered"]) / 1e6
        return f"line {own.line} of deliveries.jsonl was written, and its answer was sent {answered_ms:.1f} ms earlier"

    def _own(self) -> InFlight:
        return next(each for each in self._of_worker() if each.identity == self._identity)

    def _of_worker(self) -> Iterator[InFlight]:
        """The deliveries that the worker has begun since it was started."""
        begun: dict[str, dict[str, int]] = {}
        ops: dict[str, str] = {}
        for record in complete_records(self._deliveries.with_name(PHASES_FILE)):
            if record["worker"] == self.worker and record["at_ns"] >= self.since_ns:
                begun.setdefault(record["id"], {})[record["step"]] = record["at_ns"]
                ops[record["id"]] = record["op"]
        lines = self._lines()
        for identity, steps in begun.items():
            # Not by the step `recorded`, because a kill may have come between the line and the record of that step.
            line = next((n for n, line in lines.items() if _is_of(line, ops[identity], steps["begun"])), 0)
            lines.pop(line, None)
            yield InFlight(identity=identity, op=ops[identity], line=line, steps=steps)

    def _lines(self) -> dict[int, Mapping[str, Any]]:
        """The lines of this worker in deliveries.jsonl, by number."""
        records = enumerate(complete_records(self._deliveries), start=1)
        return {number: record for number, record in records if record["worker"] == self.worker}


def _is_of(line: Mapping[str, Any], op: str, begun_ns: int) -> bool:
    return bool(line["op"] == op and line["at_ns"] >= begun_ns)
