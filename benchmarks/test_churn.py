"""What do dead rows cost the rows that follow?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime, timedelta
from statistics import median

import psycopg
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Bench, Findings, PairedFigures, Size
from benchmarks.test_drain import drained, settle
from benchmarks.test_lateness import lateness_ms
from duetime.clock import system_clock

MakeBench = Callable[..., Bench]

WAL_BYTES = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"

BURST = 500
AHEAD_S = 0.4


@contextmanager
def old_transaction(bench: Bench) -> Iterator[None]:
    """Hold an old snapshot, like a forgotten report: no row that is deleted after that can be vacuumed."""
    with closing(psycopg.connect(bench.psycopg_url)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM pending_notifications")
        yield


@pytest.mark.benchmark(group="How fast is a backlog drained beside an old open transaction?")
def test_churn_of_one_large_backlog(
    make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    read_model, rows = make_bench("push_readmodel"), size.pick(1000, 30_000, 500_000)
    paired = PairedFigures()

    def one_round() -> None:
        for name, held in (("nothing", nullcontext()), ("an old transaction", old_transaction(read_model))):
            settle(read_model)
            wal_before = read_model.query_number(WAL_BYTES)
            with held:
                paired.add(name, drained(read_model, rows))
            # Vacuum writes to the log, too.
            read_model.execute("VACUUM pending_notifications")
            paired.add(f"bytes, {name}", (read_model.query_number(WAL_BYTES) - wal_before) / rows)

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 5))

    columns = [
        "held open",
        f"deliveries a second of {rows:,}",
        "bytes of write-ahead log each, from schedule() to vacuum",
    ]
    held_open = ("nothing", "an old transaction")
    findings.table(
        columns, [(name, round(paired.median(name)), round(paired.median(f"bytes, {name}"))) for name in held_open]
    )
    ratio = paired.ratio("an old transaction", "nothing")
    findings.conclude(
        f"with an old transaction open a backlog of {rows:,} is drained at {ratio:.0%} of the rate without it"
    )


@pytest.mark.benchmark(group="How late are notifications after an hour's inserts and deletes?")
def test_churn_of_a_stream(make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size) -> None:
    """36,000 notifications are ten per second for an hour."""
    read_model, bursts = make_bench("push_readmodel"), size.pick(2, 5, 72)
    rows: list[tuple[str, float, float, int]] = []

    def one_round() -> None:
        for name, held in (("nothing", nullcontext()), ("an old transaction", old_transaction(read_model))):
            settle(read_model)
            read_model.delete_deliveries()
            due_times: list[datetime] = []
            with held, read_model.workers():
                for burst in range(bursts):
                    due_at = system_clock() + timedelta(seconds=AHEAD_S)
                    burst_times = [due_at + timedelta(microseconds=number) for number in range(BURST)]
                    read_model.schedule(burst_times, prefix=f"{burst}:")
                    assert system_clock() < due_at, "scheduling took longer than the time before the first due time"
                    due_times += burst_times
                    read_model.wait_for_deliveries(len(due_times))
                dead_rows = count_dead_rows(read_model)
            keys = [f"{number // BURST}:{number % BURST}" for number in range(len(due_times))]
            late_ms = lateness_ms(read_model, due_times, keys, within_guarantees=True)
            first, last = late_ms[: 5 * BURST], late_ms[-5 * BURST :]
            rows.append((name, median(first), median(last), dead_rows))

    benchmark.pedantic(one_round, rounds=1)

    columns = ["held open", "ms late at first", "ms late at the end", "dead rows at the end"]
    findings.table(columns, [(name, round(first, 1), round(last, 1), number) for name, first, last, number in rows])
    (_, first, last, _), (_, old_first, old_last, dead_rows) = rows
    findings.conclude(
        f"after {bursts * BURST:,} inserts and deletes the median of {BURST} due at once is {last / first:.2f} × "
        f"as late as at first; with an old transaction open, and {dead_rows:,} dead rows, {old_last / old_first:.2f} ×"
    )


def count_dead_rows(bench: Bench) -> int:
    """Return the number of dead rows, once PostgreSQL has updated its statistics."""
    time.sleep(1.5)
    return bench.query_number("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'pending_notifications'")
