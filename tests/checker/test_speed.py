"""A million operations and deliveries are judged within a minute and 2 GiB; a tenth of them in a tenth of the time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checker.stored_runs import PLAN, close, write, write_lines

SECOND = 1_000_000_000

JUDGE = """
import json, resource, sys, time
from pathlib import Path
from duetime.checker import judge
started = time.monotonic()
results = judge(Path(sys.argv[1]))
took_s = time.monotonic() - started
peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([results.outcome, results.counts["on_time"], took_s, peak_kib / 2**20]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("notifications", "seconds", "gib"), [(50_000, 6, 0.5), pytest.param(500_000, 60, 2, marks=pytest.mark.full)]
)
def test_a_million_operations_and_deliveries_are_judged_within_a_minute(
    tmp_path: Path, notifications: int, seconds: float, gib: float
) -> None:
    run_dir = _big_run(tmp_path, notifications)

    command = [sys.executable, "-c", JUDGE, str(run_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    outcome, on_time, took_s, peak_gib = json.loads(done.stdout)

    assert (outcome, on_time) == ("pass", notifications)
    assert took_s < seconds
    assert peak_gib < gib


def _big_run(run_dir: Path, notifications: int) -> Path:
    write(run_dir / "plan.json", {**PLAN, "faults": [], "required_faults": [], "planned": {"schedule": notifications}})
    with (run_dir / "history.jsonl").open("w", encoding="utf-8") as history:
        for n in range(notifications):
            op = f'"op":"event-reminder:{n}:7/1","client":0'
            due = f'"f":"schedule","key":"event-reminder:{n}:7","revision":1,"due_ns":{n + SECOND}'
            history.write(f'{{"i":{2 * n},{op},{due},"type":"invoke","at_ns":{n}}}\n')
            history.write(f'{{"i":{2 * n + 1},{op},"type":"ok","at_ns":{n + 1}}}\n')
    with (run_dir / "deliveries.jsonl").open("w", encoding="utf-8") as deliveries:
        deliveries.write(
            '{"op":"canary/0","key":"canary","revision":0,"due_ns":0,"worker":"canary","attempt":1,"at_ns":0}\n'
        )
        deliveries.writelines(
            f'{{"op":"event-reminder:{n}:7/1","key":"event-reminder:{n}:7","revision":1,"worker":"worker-1",'
            f'"attempt":1,"at_ns":{n + SECOND}}}\n'
            for n in range(notifications)
        )
    write_lines(run_dir / "clock.jsonl", [{"wall_ns": 0, "mono_ns": 0}])
    return close(run_dir)
