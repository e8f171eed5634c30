"""How long after a restart is the backlog of the downtime delivered?"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Bench, Findings, PairedFigures, Size, past_due_times, rate

MakeBench = Callable[..., Bench]


@pytest.mark.benchmark(group="How long after a restart is the backlog delivered?")
def test_recovery_after_downtime(
    make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    number = size.pick(100, 500, 5_000)
    benches = [make_bench(name) for name in ("push_readmodel", "oban_style_queue")]
    took_s = PairedFigures()

    def one_round() -> None:
        for bench in benches:
            bench.delete_deliveries()
            bench.schedule(past_due_times(number))
            began_s = time.monotonic()
            with bench.workers(ready=False):
                delivered = bench.wait_for_deliveries(number)
                took_s.add(bench.design.name, delivered[-1].at_ns / 1e9 - began_s)
            rate(delivered, expected=number)

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 3))

    findings.table(
        ["design", "seconds, with the start of the worker"],
        [*((name, round(took_s.median(name), 2)) for name in took_s.figures), ("pull_worker", "never")],
    )
    findings.conclude(
        f"{number:,} notifications that became due while all workers were down are delivered "
        f"{took_s.median('push_readmodel'):.1f} s after a restart by the read model, "
        f"{took_s.median('oban_style_queue'):.1f} s by the queue, and never by the poller, whose windows have passed"
    )
