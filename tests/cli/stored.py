"""Stored runs as `duetime compare` leaves them, written in milliseconds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from duetime import registry
from duetime.harness.plan import lookup
from tests.checker.small_histories import canary, delivery
from tests.checker.stored_runs import PLAN, close, good_run, write, write_lines


def stored_run(
    directory: Path,
    *,
    design: str = "push_readmodel",
    scenario: str = "crash",
    seed: int = 1,
    came: int = 1,
    closed: bool = True,
) -> Path:
    """Write a run in which the notification that is due while a worker is down `came` that many times."""
    run_dir = directory / scenario / f"{design.replace(':', '-')}-seed{seed}"
    run_dir.mkdir(parents=True)
    good_run(run_dir)
    loaded, plan = registry.load(design), lookup.named(scenario).plan(seed)
    written = {
        "format": PLAN["format"],
        "design": loaded.name,
        "loaded_as": design,
        **plan.to_json(),
        "plan_hash": plan.hash(),
        "guarantees": asdict(loaded.guarantees),
        "versions": {},
        "profile": {**asdict(plan.profile), **PLAN["profile"]},
        **{name: PLAN[name] for name in ("planned", "required_faults", "canary_period_s")},
    }
    write(run_dir / "plan.json", json.loads(json.dumps(written)))
    deliveries = [delivery("c/1", at_s=8.0), *(delivery("event:4/7/1", at_s=6.5 + n / 10) for n in range(came))]
    canaries = [canary(n, due_s=2.0 * n, at_s=2.0 * n) for n in range(6)]
    write_lines(run_dir / "deliveries.jsonl", [*deliveries, *canaries])
    (run_dir / "closed.json").unlink()
    return close(run_dir) if closed else run_dir
