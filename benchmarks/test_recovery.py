"""How long after a restart is everything delivered that fell due meanwhile?"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Bench, Found, Paired, Size, past, rate

Make = Callable[..., Bench]


@pytest.mark.benchmark(group="from a restart to an empty backlog")
def test_recovery_after_downtime(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    number = size.pick(100, 500, 5_000)
    benches = [make_bench(name) for name in ("push_readmodel", "oban_style_queue")]
    took_s = Paired()

    def one_round() -> None:
        for bench in benches:
            bench.forget_deliveries()
            bench.schedule(past(number))
            began_s = time.monotonic()
            with bench.workers(ready=False):
                delivered = bench.wait_for_deliveries(number)
                took_s.note(bench.design.name, delivered[-1].at_ns / 1e9 - began_s)
            rate(delivered, expected=number)

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 3))

    found.table(
        ["design", "seconds, the worker's start included"],
        [*((name, round(took_s.median(name), 2)) for name in took_s.figures), ("pull_worker", "never")],
    )
    found.say(
        f"{number:,} that fell due while nobody was up are delivered {took_s.median('push_readmodel'):.1f} s after a "
        f"restart "
        f"by the read model, {took_s.median('oban_style_queue'):.1f} s by the queue, and never by the poller, whose "
        f"windows "
        "are over"
    )
