"""Write run directories in the form of the harness."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from duetime.history import Operation, RecordedFault, StoredEntry
from tests.checker.correct_worlds import World
from tests.checker.small_histories import canary, cancelled, delivery, fault, numbered, scheduled

PLAN: Mapping[str, Any] = {
    "format": 2,
    "design": "push_readmodel",
    "scenario": "crash",
    "seed": 1,
    "plan_hash": "8f1c",
    "profile": {
        "early_tolerance_s": 0.05,
        "lateness_limit_s": 2.0,
        "in_flight_allowance_s": 0.5,
        "recovery_budget_s": {"kill": 2.0},
        "grace_s": 1.5,
        "quiet_s": 1.0,
    },
    "required_faults": ["kill"],
    "planned": {"schedule": 3, "cancel": 1},
    "faults": [{"fault": "f1", "kind": "kill", "target": "worker-1", "inject_s": 4.5, "heal_s": 6.0}],
    "operations": [],
    "versions": {},
    "canary_period_s": 2.0,
}


def good_run(run_dir: Path) -> Path:
    """A run without a violation: three notifications, one of them cancelled, and a kill."""
    first = [*scheduled("event:4/7/1", due_s=5.0), *scheduled("b/1", due_s=5.5, at_s=0.2), *cancelled("b/2", at_s=1.0)]
    second = scheduled("c/1", due_s=8.0, at_s=0.3)
    canaries = [canary(n, due_s=2.0 * n, at_s=2.0 * n) for n in range(6)]
    write(run_dir / "plan.json", PLAN)
    write_lines(run_dir / "history.jsonl", [*numbered(first, client=0), *numbered(second, client=1)])
    write_lines(run_dir / "deliveries.jsonl", [delivery("c/1", at_s=8.0), delivery("event:4/7/1", at_s=6.5), *canaries])
    write_lines(run_dir / "faults.jsonl", fault(inject_s=4.5, healed_s=6.0))
    write_lines(run_dir / "clock.jsonl", [{"wall_ns": 10**18 + n * 10**9, "mono_ns": n * 10**9} for n in range(12)])
    return close(run_dir)


def close(run_dir: Path, *, at_s: float = 12.0) -> Path:
    """Write closed.json for the files as they are now."""
    files = sorted(run_dir.glob("*.jsonl"))
    closed = {
        "at_ns": round(at_s * 10**9),
        "lines": {path.name: path.read_bytes().count(b"\n") for path in files},
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "pending": [],
        "quiet_s": 1.3,
        "workers_alive": True,
    }
    write(run_dir / "closed.json", closed)
    return run_dir


def write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def append(path: Path, record: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def store(world: World, run_dir: Path) -> Path:
    """Write `world` as files, with one client for each operation and clocks that agree."""
    write(run_dir / "plan.json", {**PLAN, **_plan_of(world)})
    write_lines(run_dir / "history.jsonl", [line for o in world.operations for line in _calls(o)])
    canaries = [canary(c.revision, due_s=c.due_ns / 10**9, at_s=c.at_ns / 10**9) for c in world.canaries]
    deliveries = [delivery(d.op, at_s=0, worker=d.worker) | {"at_ns": d.at_ns} for d in world.deliveries]
    write_lines(run_dir / "deliveries.jsonl", [*deliveries, *canaries])
    write_lines(run_dir / "faults.jsonl", [line for f in world.faults for line in _phases(f)])
    write_lines(run_dir / "clock.jsonl", [{"wall_ns": n, "mono_ns": n} for n in range(3)])
    close(run_dir, at_s=(world.closed_ns or 0) / 10**9)
    closed = json.loads((run_dir / "closed.json").read_bytes())
    stored = world.stored
    looks = {"pending": _entries(stored.before), "after_stop": _entries(stored.after)}
    write(run_dir / "closed.json", {**closed, **looks, "cut_short": list(stored.cut_short)})
    return run_dir


def _entries(stored: Mapping[str, StoredEntry]) -> list[Mapping[str, Any]]:
    return [{"op": op, **entry._asdict()} for op, entry in stored.items()]


def _plan_of(world: World) -> Mapping[str, Any]:
    faults = [{"fault": f.fault, "kind": f.kind, "target": f.target} for f in world.faults]
    return {"profile": world.history().plan.profile.as_written, "faults": faults, "required_faults": [], "planned": {}}


def _calls(o: Operation) -> Iterable[Mapping[str, Any]]:
    common = {"op": o.op, "client": o.op}
    call = {"f": o.verb, "key": o.key, "revision": o.revision, "due_ns": o.due_ns}
    yield {"i": 0, **common, **call, "type": "invoke", "at_ns": o.invoked_ns}
    if o.answered_line:
        yield {"i": 1, **common, "type": o.answer, "at_ns": o.answered_ns}


def _phases(f: RecordedFault) -> Iterable[Mapping[str, Any]]:
    common = {"fault": f.fault, "kind": f.kind, "target": f.target, "evidence": "seen"}
    times = {"inject": f.injected_ns, "observed": f.observed_ns, "heal": f.heal_ns, "healed": f.healed_ns}
    for phase, at_ns in times.items():
        yield {**common, "phase": phase, "at_ns": at_ns}
