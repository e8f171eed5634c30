"""The run directory while it is written: the plan, the recorded files, and the harness's last word."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from duetime.clock import Instant
from duetime.harness.plan.plan import Plan
from duetime.history.digest import line_count_and_sha256
from duetime.history.format import FORMAT
from duetime.history.tail import Tail, backwards
from duetime.interface import Design, Pending

RECORDED = ("history.jsonl", "deliveries.jsonl", "faults.jsonl", "clock.jsonl")


class RunDirectory:
    """Where one run of `design` is recorded.

    versions: of the servers that take part. loaded_as: how a process finds the design again.
    """

    def __init__(self, path: Path, design: Design, versions: Mapping[str, str], *, loaded_as: str) -> None:
        self.path = path
        self._design = design
        self._versions = versions
        self._loaded_as = loaded_as

    def make(self) -> None:
        (self.path / "logs").mkdir(parents=True)
        for name in RECORDED:
            (self.path / name).touch()

    @property
    def deliveries(self) -> Path:
        return (self.path / "deliveries.jsonl").absolute()

    def write_plan(self, plan: Plan, started: Instant | None = None) -> None:
        written = {
            "format": FORMAT,
            "design": self._design.name,
            "loaded_as": self._loaded_as,
            **plan.to_json(),
            "plan_hash": plan.hash(),
            "started": started._asdict() if started else None,
            "guarantees": asdict(self._design.guarantees),
            "versions": {**versions(), **self._versions},
        }
        draft = self.path / "plan.json.new"
        draft.write_text(_laid_out(written))
        draft.replace(self.path / "plan.json")

    def close(
        self,
        pending: Sequence[Pending],
        *,
        quiet_s: float,
        workers_alive: bool,
        restarts: Sequence[object],
        unverified: Sequence[str],
        at_ns: int | None = None,
    ) -> None:
        """Vouch for the files as they are now; what is written to them afterwards is damage.

        at_ns: until when they tell everything, if not until now.
        """
        measured = {name: line_count_and_sha256(self.path / name) for name in ("plan.json", *RECORDED)}
        closed = {
            "at_ns": time.monotonic_ns() if at_ns is None else at_ns,
            "lines": {name: count for name, (count, _) in measured.items()},
            "sha256": {name: digest for name, (_, digest) in measured.items()},
            "pending": [{"op": left.op, "where": left.where} for left in pending],
            "quiet_s": round(quiet_s, 3),
            "workers_alive": workers_alive,
            "restarts": list(restarts),
            "unverified": list(unverified),
        }
        (self.path / "closed.json").write_text(json.dumps(closed, indent=1) + "\n")

    def seconds_since_last_delivery(self) -> float:
        """Since the last line that is not a canary; since the beginning of time if there is none."""
        for record in backwards(self.deliveries):
            if record["worker"] != "canary":
                return (time.monotonic_ns() - int(record["at_ns"])) / 1e9
        return time.monotonic()


class OutstandingOperations:
    """The acknowledged revisions not delivered yet, in a run in which nothing is taken back."""

    def __init__(self, directory: RunDirectory) -> None:
        self._history = Tail(directory.path / "history.jsonl")
        self._deliveries = Tail(directory.deliveries)
        self._owed: set[str] = set()
        self._early: set[str] = set()
        """Delivered, and not yet seen to be acknowledged."""

    def anything(self) -> bool:
        """Whether anything is owed at the moment; reads only what was written since it was last asked."""
        for _, delivery in self._deliveries.read():
            if delivery["op"] in self._owed:
                self._owed.remove(delivery["op"])
            else:
                self._early.add(delivery["op"])
        for _, call in self._history.read():
            if call["type"] == "ok":
                if call["op"] in self._early:
                    self._early.remove(call["op"])
                else:
                    self._owed.add(call["op"])
        return bool(self._owed)


def _laid_out(plan: Mapping[str, Any]) -> str:
    """`plan` as JSON, an operation a line: indented, each of a million participants would have a line of its own."""
    entries = []
    for name, value in plan.items():
        if isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(json.dumps(one) for one in value) + "\n ]"
        else:
            text = json.dumps(value)
        entries.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def versions() -> dict[str, str]:
    packages = ("duetime", "celery", "kombu", "redis", "sqlalchemy", "psycopg")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
