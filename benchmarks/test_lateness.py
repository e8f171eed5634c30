"""How late is a notification on a quiet server?"""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from statistics import quantiles

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Bench
from duetime.clock import instant, system_clock

A_SECOND = 20
SECONDS = 6
SETTLE_S = 2.5
"""After the last due time: more than two poll intervals."""


@pytest.mark.benchmark(group=f"lateness of a steady stream, {A_SECOND}/s for {SECONDS} s, one server")
def test_lateness_of_a_steady_stream(bench: Bench, benchmark: BenchmarkFixture, headline: list[str]) -> None:
    users = bench.add_users(1)
    late_ms: list[float] = []
    repeated: list[int] = []
    missed: list[int] = []

    def run() -> None:
        with bench.server():
            anchor, first_due = instant(), system_clock() + timedelta(seconds=3)
            dues = [first_due + timedelta(seconds=number / A_SECOND) for number in range(A_SECOND * SECONDS)]
            for due_at in dues:
                bench.create_event(due_at, users)
            assert system_clock() < first_due, "scheduling took longer than the three seconds that it has"
            time.sleep((dues[-1] - system_clock()).total_seconds() + SETTLE_S)
            delivered = bench.deliveries()
        due_ns = {
            f"event-reminder:{number}:{users[0]}/1": int(due_at.timestamp() * 1e9) - anchor.wall_ns + anchor.mono_ns
            for number, due_at in enumerate(dues, start=1)
        }
        times = Counter(delivery.op for delivery in delivered)
        repeated.append(sum(count - 1 for count in times.values()))
        missed.append(len(due_ns.keys() - times.keys()))
        late_ms.extend((delivery.at_ns - due_ns[delivery.op]) / 1e6 for delivery in delivered)
        assert min(late_ms) > -1, "early"

    benchmark.pedantic(run, rounds=1)

    if bench.design.promise.delivery == "nothing":
        # Dues fall everywhere in a second here, also where a poll's window ends: that is where a poller errs.
        headline.append(f"missed {sum(missed)} and repeated {sum(repeated)} of {A_SECOND * SECONDS}")
    else:
        assert (missed, repeated) == ([0], [0])
    cuts = quantiles(late_ms, n=100)
    headline.append(f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, max {max(late_ms):.1f} ms")
