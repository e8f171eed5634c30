"""What does one look cost as the application's table grows?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from statistics import median
from typing import Any

import psycopg
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Bench, Found, Size
from duetime.clock import system_clock
from push_readmodel.drain import CLAIM, EPOCH, connect

PENDING = 1000
FAULT_KINDS = 9
INDEX = "events_by_start"

EVENTS = """
    INSERT INTO events (id, title, description, starts_at, ends_at, time_zone, location, organiser, status, capacity,
                        price_cents, currency, visibility)
    SELECT n, 'event ' || n, '', start, start + interval '1 hour', 'UTC', '', '', 'scheduled', 10, 0, 'EUR', 'public'
    FROM generate_series(%s::bigint, %s::bigint) AS n, LATERAL (SELECT now() + n * interval '1 minute') AS of(start)
"""
FOUND = "SELECT id FROM events WHERE status = 'scheduled' AND "
PUBLISHED = f"{FOUND} starts_at BETWEEN now() + interval '9 minutes' AND now() + interval '10 minutes'"
ON_THE_COLUMN = f"{FOUND} starts_at - interval '10 minutes' BETWEEN now() - interval '1 minute' AND now()"
OWN_OFFSETS = f"{FOUND} starts_at - capacity * interval '1 minute' BETWEEN now() - interval '1 minute' AND now()"
"""As if each event said how many minutes before it its reminders go out (here a column that holds 10 everywhere)."""

Make = Callable[..., Bench]
Look = tuple[str, Sequence[object]]


def measured(connection: psycopg.Connection[Any], look: Look) -> tuple[float, int]:
    """Milliseconds of one look, the median, and the pages that it touches."""
    statement, parameters = look
    took_ms = []
    for _ in range(FAULT_KINDS):
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


@pytest.mark.benchmark(group="one look as the application grows")
def test_growth_of_the_main_table(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    events = {"quick": [1000, 5000], "default": [10_000, 100_000], "full": [10_000, 100_000, 1_000_000, 10_000_000]}
    read_model = make_bench("push_readmodel")
    read_model.schedule([system_clock() + timedelta(days=1, seconds=number) for number in range(PENDING)])
    looks: dict[str, Look] = {
        "read model": (CLAIM, (EPOCH, timedelta(), 1000)),
        "poll with an index": (PUBLISHED, ()),
        "poll without an index": (PUBLISHED, ()),
        "arithmetic on the column": (ON_THE_COLUMN, ()),
        "offsets of their own": (OWN_OFFSETS, ()),
    }
    figures: dict[int, dict[str, tuple[float, int]]] = {}
    kilobytes: dict[int, list[int]] = {}

    def grow() -> None:
        there = 0
        with (
            closing(psycopg.connect(plain(read_model), autocommit=True)) as polling,
            closing(connect(read_model.engine)) as draining,
        ):
            for number in events[size.name]:
                polling.execute(EVENTS, [there + 1, number])
                there = number
                polling.execute("VACUUM ANALYZE events")
                polling.execute("VACUUM ANALYZE pending_notifications")
                kilobytes[number] = sizes_kb(polling, "events", INDEX, "pending_notifications")
                figures[number] = {}
                for name, look in looks.items():
                    if name == "poll without an index":
                        polling.execute(f"DROP INDEX {INDEX}")
                    figures[number][name] = measured(draining if name == "read model" else polling, look)
                    if name == "poll without an index":
                        polling.execute(f"CREATE INDEX {INDEX} ON events (starts_at)")

    benchmark.pedantic(grow, rounds=1)

    first, last = min(figures), max(figures)
    ours = [figures[number]["read model"] for number in (first, last)]
    assert ours[0][1] == ours[1][1], "the read model's look touches more pages than before"
    found.table(
        ["events", *(f"{name}: ms (pages)" for name in looks), "table kB", "its index kB", "read model kB"],
        [
            (f"{number:,}", *(f"{ms:.3f} ({pages})" for ms, pages in figures[number].values()), *kilobytes[number])
            for number in figures
        ],
    )
    found.plot(
        "growth", x="events in the application's table", y="ms a look", logarithmic="xy",
        series={name: [(number, figures[number][name][0]) for number in figures] for name in looks},
    )  # fmt: skip

    def grew(name: str) -> float:
        return figures[last][name][0] / figures[first][name][0]

    found.say(
        f"from {first:,} to {last:,} events, with {PENDING:,} pending throughout, the read model's look takes "
        f"{grew('read model'):.2f} × as long and touches "
        f"{ours[0][1]} pages, then {ours[1][1]}; the poll takes {grew('poll without an index'):.0f} × as long without "
        f"an index and {grew('poll with an index'):.1f} × with one"
    )
    indexed, ours_ms, on_the_column = (
        figures[last][name][0] for name in ("poll with an index", "read model", "arithmetic on the column")
    )
    found.say(
        f"the index is the poller's honest defence: {indexed:.3f} ms a look with it, where the read model's takes "
        f"{ours_ms:.3f}; arithmetic on the column makes it {on_the_column:.1f} ms"
    )


def plain(bench: Bench) -> str:
    return bench.settings.database_url.replace("postgresql+psycopg", "postgresql")
