"""Short records in the form of those of a client, a gateway and a harness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duetime.history.records import nanoseconds

Record = dict[str, Any]
MS = 0.001
NS = 1e-9


def invoke(verb: str, op: str, *, at_s: float, due_s: float | None = None) -> Record:
    key, _, revision = op.rpartition("/")
    return {
        "op": op, "f": verb, "key": key, "revision": int(revision), "type": "invoke", "at_ns": nanoseconds(at_s),
        "due_ns": None if due_s is None else nanoseconds(due_s),
    }  # fmt: skip


def ok(op: str, *, at_s: float) -> Record:
    return {"op": op, "type": "ok", "at_ns": nanoseconds(at_s)}


def fail(op: str, *, at_s: float) -> Record:
    return {"op": op, "type": "fail", "at_ns": nanoseconds(at_s), "error": "rejected"}


def info(op: str, *, at_s: float) -> Record:
    return {"op": op, "type": "info", "at_ns": nanoseconds(at_s), "error": "timed out"}


def scheduled(op: str, *, due_s: float, at_s: float = 0.0) -> list[Record]:
    """Invoked at `at_s`, acknowledged 0.1 s later."""
    return [invoke("schedule", op, at_s=at_s, due_s=due_s), ok(op, at_s=at_s + 0.1)]


def cancelled(op: str, *, at_s: float) -> list[Record]:
    """Invoked at `at_s`, acknowledged 0.1 s later."""
    return [invoke("cancel", op, at_s=at_s), ok(op, at_s=at_s + 0.1)]


def delivery(op: str, *, at_s: float, worker: str = "worker-1") -> Record:
    key, _, revision = op.rpartition("/")
    at_ns = nanoseconds(at_s)
    return {"op": op, "key": key, "revision": int(revision), "worker": worker, "attempt": 1, "at_ns": at_ns}


def canary(number: int, *, due_s: float, at_s: float) -> Record:
    return delivery(f"canary/{number}", at_s=at_s, worker="canary") | {"due_ns": nanoseconds(due_s)}


def fault(
    name: str = "f1",
    *,
    kind: str = "kill",
    inject_s: float,
    healed_s: float | None,
    phases: tuple[str, ...] = ("inject", "observed", "heal", "healed"),
) -> list[Record]:
    """The lines of one fault in faults.jsonl; not healed if `healed_s` is None."""
    at_s: Mapping[str, float | None] = {
        "inject": inject_s, "observed": inject_s + 0.01, "heal": healed_s, "healed": healed_s
    }  # fmt: skip
    common = {"fault": name, "kind": kind, "target": "worker-1", "evidence": "pid 71 reaped"}
    return [{**common, "phase": phase, "at_ns": nanoseconds(at)} for phase in phases if (at := at_s[phase]) is not None]


def numbered(history: list[Record], client: int = 0) -> list[Record]:
    """Number the lines of one client from 0."""
    return [{"i": i, "client": client, **record} for i, record in enumerate(history)]
