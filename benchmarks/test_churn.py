"""What do all the rows that were there before cost those that are there now?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime, timedelta
from statistics import median

import psycopg
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Bench, Found, Paired, Size
from benchmarks.test_drain import drained, settled
from benchmarks.test_lateness import lateness_ms
from duetime.clock import system_clock

Make = Callable[..., Bench]

LOGGED = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"

AT_ONCE = 500
AHEAD_S = 0.4


@contextmanager
def old_transaction(bench: Bench) -> Iterator[None]:
    """Somebody's report that was begun before and forgotten: no row that dies after that can be vacuumed."""
    url = bench.settings.database_url.replace("postgresql+psycopg", "postgresql")
    with closing(psycopg.connect(url)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM pending_notifications")
        yield


@pytest.mark.benchmark(group="a backlog with an old transaction held open")
def test_churn_of_one_large_backlog(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    read_model, rows = make_bench("push_readmodel"), size.pick(1000, 30_000, 500_000)
    paired = Paired()

    def one_round() -> None:
        for name, held in (("nobody", nullcontext()), ("an old transaction", old_transaction(read_model))):
            settled(read_model)
            logged = read_model.ask(LOGGED)
            with held:
                paired.note(name, drained(read_model, rows))
            # What they leave behind has to be cleared away too.
            read_model.execute("VACUUM pending_notifications")
            paired.note(f"bytes, {name}", (read_model.ask(LOGGED) - logged) / rows)

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 5))

    columns = [
        "held open",
        f"deliveries a second of {rows:,}",
        "bytes of write-ahead log each, from schedule() to the end",
    ]
    held_open = ("nobody", "an old transaction")
    found.table(columns, [(n, round(paired.median(n)), round(paired.median(f"bytes, {n}"))) for n in held_open])
    ratio = paired.ratio("an old transaction", "nobody")
    found.say(f"with an old transaction open a backlog of {rows:,} is drained at {ratio:.0%} of the rate without it")


@pytest.mark.benchmark(group="an hour's inserts and deletes")
def test_churn_of_a_stream(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    """36,000 notifications are an hour of ten a second."""
    read_model, turns = make_bench("push_readmodel"), size.pick(2, 5, 72)
    rows: list[tuple[str, float, float, int]] = []

    def one_round() -> None:
        for name, held in (("nobody", nullcontext()), ("an old transaction", old_transaction(read_model))):
            settled(read_model)
            read_model.forget_deliveries()
            dues: list[datetime] = []
            with held, read_model.workers():
                for turn in range(turns):
                    due_at = system_clock() + timedelta(seconds=AHEAD_S)
                    together = [due_at + timedelta(microseconds=number) for number in range(AT_ONCE)]
                    read_model.schedule(together, prefix=f"{turn}:")
                    assert system_clock() < due_at, "scheduling took longer than the time that it has"
                    dues += together
                    read_model.wait_for_deliveries(len(dues))
                dead_rows = dead(read_model)
            keys = [f"{number // AT_ONCE}:{number % AT_ONCE}" for number in range(len(dues))]
            late_ms = lateness_ms(read_model, dues, keys, within_guarantees=True)
            some = 5 * AT_ONCE
            rows.append((name, median(late_ms[:some]), median(late_ms[-some:]), dead_rows))

    benchmark.pedantic(one_round, rounds=1)

    columns = ["held open", "ms late at first", "ms late at the end", "dead rows at the end"]
    found.table(columns, [(name, round(first, 1), round(last, 1), number) for name, first, last, number in rows])
    (_, first, last, _), (_, old_first, old_last, dead_rows) = rows
    found.say(
        f"after {turns * AT_ONCE:,} inserts and deletes the median of {AT_ONCE} due together is {last / first:.2f} × "
        f"as late as at first; with an old transaction open, and {dead_rows:,} dead rows, {old_last / old_first:.2f} ×"
    )


def dead(bench: Bench) -> int:
    """Dead rows, once the statistics have come in."""
    time.sleep(1.5)
    return bench.ask("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'pending_notifications'")
