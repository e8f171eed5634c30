"""What does schedule() add to a business transaction? The poller's is empty, so it shows the transaction alone."""

from __future__ import annotations

from datetime import timedelta
from itertools import repeat

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import func, select

from benchmarks.conftest import Bench
from duetime.app.tables import Event
from duetime.clock import system_clock

CALLS = 200
ROUNDS = 3


@pytest.mark.benchmark(group="schedule one at a time, each in a committed transaction")
def test_schedule_one_at_a_time(bench: Bench, benchmark: BenchmarkFixture, headline: list[str]) -> None:
    users = bench.add_users(1)
    due_at = system_clock() + timedelta(hours=1)

    def run() -> None:
        for _ in repeat(None, CALLS):
            bench.create_event(due_at, users)

    benchmark.pedantic(run, rounds=ROUNDS, warmup_rounds=1)

    with bench.engine.connect() as connection:
        events = connection.execute(select(func.count()).select_from(Event)).scalar_one()
    assert events % CALLS == 0
    assert events >= CALLS
    if bench.design.name != "pull_worker":
        assert bench.pending() == events
    if benchmark.stats is not None:
        each_ms = benchmark.stats.stats.median / CALLS * 1000
        headline.append(f"{each_ms:.2f} ms a transaction (median of {ROUNDS} rounds of {CALLS})")
