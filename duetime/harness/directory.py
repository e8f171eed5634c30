"""The run directory while it is written: the plan, the recorded files, and the harness's last word."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from duetime.clock import Instant
from duetime.harness.plan import Plan
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
            "format": 1,
            "design": self._design.name,
            "loaded_as": self._loaded_as,
            **plan.to_json(),
            "plan_hash": plan.hash(),
            "started": started._asdict() if started else None,
            "promise": asdict(self._design.promise),
            "versions": {**versions(), **self._versions},
        }
        draft = self.path / "plan.json.new"
        draft.write_text(json.dumps(written, indent=1) + "\n")
        draft.replace(self.path / "plan.json")

    def close(
        self,
        pending: Sequence[Pending],
        *,
        quiet_s: float,
        workers_alive: bool,
        restarts: Sequence[object],
        unseen: Sequence[str],
        at_ns: int | None = None,
    ) -> None:
        """Vouch for the files as they are now; what is written to them afterwards is damage.

        at_ns: until when they tell everything, if not until now.
        """
        contents = {name: (self.path / name).read_bytes() for name in ("plan.json", *RECORDED)}
        closed = {
            "at_ns": time.monotonic_ns() if at_ns is None else at_ns,
            "lines": {name: content.count(b"\n") for name, content in contents.items()},
            "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
            "pending": [{"op": left.op, "where": left.where} for left in pending],
            "quiet_s": round(quiet_s, 3),
            "workers_alive": workers_alive,
            "restarts": list(restarts),
            "unseen": list(unseen),
        }
        (self.path / "closed.json").write_text(json.dumps(closed, indent=1) + "\n")

    def owed(self) -> set[str]:
        """The acknowledged revisions not delivered yet, in a run in which nothing is taken back."""
        answers = (json.loads(line) for line in (self.path / "history.jsonl").read_bytes().splitlines())
        acknowledged = {answer["op"] for answer in answers if answer["type"] == "ok"}
        return acknowledged - {json.loads(line)["op"] for line in self.deliveries.read_bytes().splitlines()}

    def seconds_since_last_delivery(self) -> float:
        """Since the last line that is not a canary; since the beginning of time if there is none."""
        for line in reversed(self.deliveries.read_bytes().splitlines()):
            record = json.loads(line)
            if record["worker"] != "canary":
                return (time.monotonic_ns() - int(record["at_ns"])) / 1e9
        return time.monotonic()


def versions() -> dict[str, str]:
    packages = ("duetime", "celery", "kombu", "redis", "sqlalchemy", "psycopg")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
