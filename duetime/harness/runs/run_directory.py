"""The files of a run directory, while the run writes them."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from duetime.clock import Instant
from duetime.contender_versions import versions_of
from duetime.harness.processes import pooler
from duetime.harness.processes.database_clock import measure_database_clock
from duetime.harness.runs.spec import RunSpec
from duetime.history.digest import line_count_and_sha256
from duetime.history.format import FORMAT
from duetime.history.tail import Tail, backwards
from duetime.interface import Pending
from duetime.runtime.delivery_phases import PHASES_FILE
from duetime.runtime.jsonl import JsonLinesWriter


@dataclass(frozen=True, slots=True)
class Stored:
    """What a design's store held at one moment.

    pending: None if the store cannot be listed. unlisted: the reason for that, or empty.
    """

    pending: Sequence[Pending] | None
    unlisted: str = ""

    def to_json(self) -> list[dict[str, Any]] | None:
        return None if self.pending is None else [asdict(entry) for entry in self.pending]

    @property
    def awaits_delivery(self) -> bool:
        """True if it holds a notification that is not given up; False if it cannot be listed."""
        return any(entry.state != "failed" for entry in self.pending or ())


class RunDirectory:
    """The run directory of `spec`.

    deliveries: absolute, because workers have other working directories.
    """

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.path = spec.directory
        self.history = self.path / "history.jsonl"
        self.deliveries = (self.path / "deliveries.jsonl").absolute()
        self.faults = self.path / "faults.jsonl"
        self.clock = self.path / "clock.jsonl"
        self.logs = self.path / "logs"
        self._plan = self.path / "plan.json"
        self._recorded = (self.history, self.deliveries, self.faults, self.clock)

    def make(self) -> None:
        self.path.mkdir(parents=True)
        self.logs.mkdir()
        for file in self._recorded:
            file.touch()

    def record_phases(self) -> None:
        """Make the gateways of this run record the phases of each delivery. Call it before workers start."""
        self.deliveries.with_name(PHASES_FILE).touch()

    def write_plan(self, started: Instant | None = None) -> None:
        spec = self.spec
        written = {
            "format": FORMAT,
            "design": spec.design.name,
            "loaded_as": spec.design_name,
            **spec.plan.to_json(),
            "plan_hash": spec.plan.hash(),
            "started": started._asdict() if started else None,
            "guarantees": asdict(spec.design.guarantees),
            "versions": {
                **versions(),
                **spec.context.versions,
                **({"pgbouncer": pooler.version()} if spec.plan.environment.pooler != "none" else {}),
                **(versions_of(spec.design.contender) if spec.design.contender else {}),
            },
        }
        draft = self._plan.with_suffix(".json.new")
        draft.write_text(_one_operation_per_line(written))
        draft.replace(self._plan)

    def record_database_clock(self) -> None:
        """Compare the clock of the user's own PostgreSQL with this machine's. An embedded one has the same clock.

        Raises:
            ServiceUnavailable: it does not answer.
        """
        url = self.spec.context.services.external_database_url
        if url:
            writer = JsonLinesWriter(self.clock)
            try:
                writer.append(measure_database_clock(url).record())
            finally:
                writer.close()

    def close(
        self,
        stored: Stored,
        *,
        after_stop: Stored | None = None,
        cut_short: Sequence[str] | None = None,
        quiet_s: float,
        workers_alive: bool,
        restarts: Sequence[object],
        unverified: Sequence[str],
        disorderly_exits: Sequence[str] = (),
        at_ns: int | None = None,
    ) -> None:
        """Write closed.json with a hash of each file; the checker treats any later change as damage.

        stored, after_stop: what the design's store held before and after the workers were stopped, if they were.
        cut_short: the workers that did not end in an orderly way then.
        at_ns: the instant up to which the records are complete; now by default.
        """
        measured = {file.name: line_count_and_sha256(file) for file in (self._plan, *self._recorded)}
        closed = {
            "at_ns": time.monotonic_ns() if at_ns is None else at_ns,
            "lines": {name: count for name, (count, _) in measured.items()},
            "sha256": {name: digest for name, (_, digest) in measured.items()},
            "pending": stored.to_json(),
            "after_stop": after_stop.to_json() if after_stop else None,
            "unlisted": stored.unlisted,
            "cut_short": None if cut_short is None else list(cut_short),
            "quiet_s": round(quiet_s, 3),
            "workers_alive": workers_alive,
            "restarts": list(restarts),
            "unverified": list(unverified),
            "disorderly_exits": list(disorderly_exits),
        }
        (self.path / "closed.json").write_text(json.dumps(closed, indent=1) + "\n")

    def seconds_since_last_delivery(self) -> float:
        """The seconds since the last delivery that is not a canary; since the machine's start if there is none."""
        for record in backwards(self.deliveries):
            if record["worker"] != "canary":
                return (time.monotonic_ns() - int(record["at_ns"])) / 1e9
        return time.monotonic()


class OutstandingOperations:
    """The acknowledged revisions that are not delivered yet, in a run without cancellations."""

    def __init__(self, files: RunDirectory) -> None:
        self._history = Tail(files.history)
        self._deliveries = Tail(files.deliveries)
        self._outstanding: set[str] = set()
        self._not_yet_acknowledged: set[str] = set()
        """Delivered before their acknowledgement was read."""

    def remain(self) -> bool:
        """Return True if a revision is outstanding. Reads only the lines written since the last call."""
        for _, delivery in self._deliveries.read():
            if delivery["op"] in self._outstanding:
                self._outstanding.remove(delivery["op"])
            else:
                self._not_yet_acknowledged.add(delivery["op"])
        for _, call in self._history.read():
            if call["type"] == "ok":
                if call["op"] in self._not_yet_acknowledged:
                    self._not_yet_acknowledged.remove(call["op"])
                else:
                    self._outstanding.add(call["op"])
        return bool(self._outstanding)


def _one_operation_per_line(plan: Mapping[str, Any]) -> str:
    """`plan` as JSON. ``json.dumps(indent=1)`` would give each of a million participants a line of its own."""
    entries = []
    for name, value in plan.items():
        if isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(json.dumps(item) for item in value) + "\n ]"
        else:
            text = json.dumps(value)
        entries.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def versions() -> dict[str, str]:
    packages = ("duetime", "celery", "kombu", "redis", "sqlalchemy", "psycopg")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
