"""Ten million rows: how long an audit takes, and how much memory it needs."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

PROMISES = 5_130_000
SECONDS, MEMORY_KB = 300, 2 * 1024 * 1024
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def iso(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat()


def write_rows(promised: Path, delivered: Path) -> int:
    """One of twenty is cancelled, one of two thousand missed. Returns how many are missed before the data ends."""
    random, missed = Random(1), 0
    with promised.open("w") as promises, delivered.open("w") as deliveries:
        promises.write("key,revision,due,accepted_at,cancelled_at\n")
        deliveries.write("key,revision,at\n")
        for number in range(PROMISES):
            due_s, cancelled = number * 0.25, random.random() < 0.05
            cancelled_at = iso(due_s - 60) if cancelled else ""
            promises.write(f"k{number},1,{iso(due_s)},{iso(due_s - 600)},{cancelled_at}\n")
            if cancelled:
                continue
            if number % 2000 == 1000:
                missed += 1
            else:
                deliveries.write(f"k{number},1,{iso(due_s + random.random())}\n")
    return missed


@pytest.mark.soak
def test_ten_million_rows_take_less_than_five_minutes_and_two_gibibytes(tmp_path: Path) -> None:
    promised, delivered = tmp_path / "promised.csv", tmp_path / "delivered.csv"
    missed = write_rows(promised, delivered)
    started_s = time.monotonic()

    command = [sys.executable, "-m", "duetime.cli", "audit", "--json"]
    done = subprocess.run(
        [*command, "--promised", str(promised), "--delivered", str(delivered)],
        capture_output=True,
        text=True,
        check=False,
    )

    took_s, memory_kb = time.monotonic() - started_s, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"{took_s:.0f} s, {memory_kb / 1024:.0f} MiB")
    report = json.loads(done.stdout)
    assert report["violations"]["missed"] in range(missed - 5, missed + 1)
    assert took_s < SECONDS
    assert memory_kb < MEMORY_KB
