"""What does one query for due notifications cost as the application's table grows?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import Any

import psycopg
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Bench, Findings, Size
from duetime.clock import system_clock
from duetime.interface import Notification
from push_readmodel.connection import connect
from push_readmodel.drain import Drain
from push_readmodel.statements import CLAIM, FRONT_OF_INDEX

PENDING = 1000
REPEATS = 9
INDEX = "events_by_start"

EVENTS = """
    INSERT INTO events (id, title, description, starts_at, ends_at, time_zone, location, organiser, status, capacity,
                        price_cents, currency, visibility)
    SELECT n, 'event ' || n, '', start, start + interval '1 hour', 'UTC', '', '', 'scheduled', 10, 0, 'EUR', 'public'
    FROM generate_series(%s::bigint, %s::bigint) AS n, LATERAL (SELECT now() + n * interval '1 minute') AS of(start)
"""
SCHEDULED = "SELECT id FROM events WHERE status = 'scheduled' AND "
POLL = f"{SCHEDULED} starts_at BETWEEN now() + interval '9 minutes' AND now() + interval '10 minutes'"
ARITHMETIC = f"{SCHEDULED} starts_at - interval '10 minutes' BETWEEN now() - interval '1 minute' AND now()"
OFFSETS = f"{SCHEDULED} starts_at - capacity * interval '1 minute' BETWEEN now() - interval '1 minute' AND now()"
"""As if each event had its own number of minutes between reminder and start, here a column that is 10 everywhere."""

MakeBench = Callable[..., Bench]
Query = tuple[str, Sequence[object]]

QUERIES: dict[str, Query] = {
    "read model": (CLAIM, (FRONT_OF_INDEX, timedelta(), 1000)),
    "poll with an index": (POLL, ()),
    "poll without an index": (POLL, ()),
    "arithmetic on the column": (ARITHMETIC, ()),
    "own offsets": (OFFSETS, ()),
}


@dataclass
class Growth:
    """Figures by the number of events: milliseconds and pages of each query, and the sizes of the relations."""

    figures: dict[int, dict[str, tuple[float, int]]] = field(default_factory=dict)
    kilobytes: dict[int, list[int]] = field(default_factory=dict)

    def ratio(self, query: str) -> float:
        """Return the last time of `query` / the first."""
        return self.figures[max(self.figures)][query][0] / self.figures[min(self.figures)][query][0]


def measured(connection: psycopg.Connection[Any], query: Query) -> tuple[float, int]:
    """Return the median milliseconds of `query`, and the pages that it touches."""
    statement, parameters = query
    took_ms = []
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        connection.execute(statement, parameters, prepare=True).fetchall()
        took_ms.append((time.perf_counter() - began_s) * 1000)
    explained = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters).fetchone()
    assert explained is not None
    plan = explained[0][0]["Plan"]
    return median(took_ms), plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def sizes_kb(connection: psycopg.Connection[Any], *relations: str) -> list[int]:
    query = "SELECT pg_table_size(%s::regclass) / 1024"
    return [row[0] for name in relations for row in connection.execute(query, [name]).fetchall()]


def grow(read_model: Bench, sizes: Sequence[int]) -> Growth:
    """Measure every query at each of `sizes` events."""
    growth, events = Growth(), 0
    with (
        closing(psycopg.connect(read_model.psycopg_url, autocommit=True)) as polling,
        closing(connect(read_model.engine)) as draining,
    ):
        for number in sizes:
            polling.execute(EVENTS, [events + 1, number])
            events = number
            polling.execute("VACUUM ANALYZE events")
            polling.execute("VACUUM ANALYZE pending_notifications")
            growth.kilobytes[number] = sizes_kb(polling, "events", INDEX, "pending_notifications")
            growth.figures[number] = {}
            for name, query in QUERIES.items():
                if name == "poll without an index":
                    polling.execute(f"DROP INDEX {INDEX}")
                growth.figures[number][name] = measured(draining if name == "read model" else polling, query)
                if name == "poll without an index":
                    polling.execute(f"CREATE INDEX {INDEX} ON events (starts_at)")
    return growth


@pytest.mark.benchmark(group="What does a query for due notifications cost as the application grows?")
def test_growth_of_the_main_table(
    make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    sizes = {"quick": [1000, 5000], "default": [10_000, 100_000], "full": [10_000, 100_000, 1_000_000, 10_000_000]}
    read_model = make_bench("push_readmodel")
    read_model.schedule([system_clock() + timedelta(days=1, seconds=number) for number in range(PENDING)])

    growth = benchmark.pedantic(grow, args=(read_model, sizes[size.name]), rounds=1)

    report(growth, findings)


def report(growth: Growth, findings: Findings) -> None:
    figures = growth.figures
    first, last = min(figures), max(figures)
    pages_before, pages_after = (figures[number]["read model"][1] for number in (first, last))
    assert pages_before == pages_after, "the claim of the read model touches more pages than before"
    findings.table(
        ["events", *(f"{name}: ms (pages)" for name in QUERIES), "table kB", "its index kB", "read model kB"],
        [
            (f"{number:,}", *(f"{ms:.3f} ({pages})" for ms, pages in row.values()), *growth.kilobytes[number])
            for number, row in figures.items()
        ],
    )
    findings.plot(
        "growth", x="events in the application's table", y="ms a query", logarithmic="xy",
        series={name: [(number, row[name][0]) for number, row in figures.items()] for name in QUERIES},
    )  # fmt: skip
    findings.conclude(
        f"from {first:,} to {last:,} events, with {PENDING:,} pending throughout, the claim of the read model takes "
        f"{growth.ratio('read model'):.2f} × as long and touches {pages_before} pages, then {pages_after}; the poll "
        f"takes {growth.ratio('poll without an index'):.0f} × as long without an index and "
        f"{growth.ratio('poll with an index'):.1f} × with one"
    )
    poll_ms, claim_ms, arithmetic_ms = (
        figures[last][name][0] for name in ("poll with an index", "read model", "arithmetic on the column")
    )
    findings.conclude(
        f"an index makes the poll cheap: {poll_ms:.3f} ms a query, where the claim takes "
        f"{claim_ms:.3f}; arithmetic on the column makes it {arithmetic_ms:.1f} ms"
    )


FAR = """
    INSERT INTO pending_notifications (key, revision, kind, recipient, payload, due_at, attempt_at)
    SELECT 'far' || n, 1, 'test', 'a@b.example', '{{}}', due, due
    FROM generate_series(1, {rows}) AS n, LATERAL (SELECT now() + interval '1 month') AS of(due)
"""
DELETED = """
    INSERT INTO pending_notifications (key, revision, kind, recipient, payload, due_at, attempt_at)
    SELECT 'deleted' || n, 1, 'test', 'a@b.example', '{{}}', now(), now() FROM generate_series(1, {rows}) AS n;
    DELETE FROM pending_notifications WHERE key LIKE 'deleted%'
"""
SLEEP_S = 5.0
"""The default of DUETIME_CHECK_EVERY_S."""


@pytest.mark.benchmark(group="What does a check cost while nothing is due?")
def test_cost_of_a_check(make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size) -> None:
    bench, rows = make_bench("push_readmodel"), size.pick(1_000, 50_000, 1_000_000)
    took_ms: dict[str, tuple[float, float]] = {}

    def check(table: str) -> None:
        """Time the first check and the median of those after it."""
        with closing(Drain(connect(bench.engine), GatewayForNothing())) as drain:
            each_ms = []
            for _ in range(1 + REPEATS):
                began_s = time.perf_counter()
                drain.drain_all()
                each_ms.append((time.perf_counter() - began_s) * 1000)
        took_ms[table] = each_ms[0], median(each_ms[1:])

    def all_tables() -> None:
        bench.execute("ALTER TABLE pending_notifications SET (autovacuum_enabled = off)")
        check("empty")
        bench.execute(FAR.format(rows=rows))
        bench.execute("VACUUM ANALYZE pending_notifications")
        check(f"{rows:,} rows due in a month")
        bench.execute(DELETED.format(rows=rows // 2))
        check(f"the same, and {rows // 2:,} deleted rows that are not vacuumed yet")
        with bench.engine.connect().execution_options(isolation_level="REPEATABLE READ") as old:
            old.exec_driver_sql("SELECT count(*) FROM pending_notifications WHERE false")
            bench.execute(DELETED.format(rows=rows // 2))
            check("the same, while an old transaction keeps them from being vacuumed")

    benchmark.pedantic(all_tables, rounds=1)

    findings.table(
        ["table", "first check, ms", "each further check, ms"],
        [(table, round(first, 1), round(further, 1)) for table, (first, further) in took_ms.items()],
    )
    each_ms = [further for _, further in took_ms.values()]
    findings.conclude(
        f"a check every {SLEEP_S:g} s takes {each_ms[1] / SLEEP_S / 1000:.3%} of a core with {rows:,} rows, and "
        f"{each_ms[-1] / SLEEP_S / 1000:.1%} in the worst of these cases"
    )


class GatewayForNothing:
    def deliver(self, notification: Notification, *, attempt: int = 1) -> None:
        raise AssertionError(f"{notification.op} is not due, attempt {attempt}")
