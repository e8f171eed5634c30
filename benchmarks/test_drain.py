"""How fast does one server work off what is already due?"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from statistics import median

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Bench
from duetime.clock import system_clock

BACKLOG = 1000
ROUNDS = 3


@pytest.mark.benchmark(group=f"drain a backlog of {BACKLOG}, one server, from its start to the last delivery")
def test_drain_a_due_backlog(bench: Bench, benchmark: BenchmarkFixture, headline: list[str]) -> None:
    users = bench.add_users(BACKLOG)
    rates: list[float] = []

    def a_backlog() -> None:
        bench.forget_deliveries()
        # In the future, because a poller never finds what fell due before its server came up: so it is due for all
        # three once the slowest of them is ready, and what is timed is the deliveries alone. In the middle of
        # a second, because at its ends the window of a poll ends too.
        due_at = (system_clock() + timedelta(seconds=6)).replace(microsecond=500_000)
        bench.create_event(due_at, users)

    def run() -> None:
        with bench.server():
            delivered = bench.wait_for_deliveries(BACKLOG)
        assert set(Counter(delivery.op for delivery in delivered).values()) == {1}
        rates.append((BACKLOG - 1) / ((delivered[-1].at_ns - delivered[0].at_ns) / 1e9))

    benchmark.pedantic(run, setup=a_backlog, rounds=ROUNDS)

    headline.append(f"{median(rates):.0f} deliveries/s between the first and the last (median of {len(rates)} rounds)")
