"""What does it cost a server that much is pending, all of it far away?"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import psutil
import psycopg
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Bench, Found, Size
from duetime.clock import system_clock
from duetime.harness.processes.worker_process import WorkerProcess

Make = Callable[..., Bench]

FAR = timedelta(days=100)
QUIET_S = 1.0
STORED = "SELECT pg_total_relation_size('pending_notifications') / 1024"
ASKED_EVERY_S = 0.1


def memory_mb(worker: WorkerProcess) -> float:
    return sum(psutil.Process(pid).memory_info().rss for pid in worker.pids()) / 1e6


def settled_mb(worker: WorkerProcess) -> float:
    """Once it has not grown for a while: a queue's worker takes everything in first."""
    before = memory_mb(worker)
    while True:
        time.sleep(QUIET_S)
        if (now := memory_mb(worker)) <= before * 1.001:
            return now
        before = now


def looks(bench: Bench, watched_s: float) -> int:
    """How often the servers asked anything within so many seconds, seen from another database.

    What a connection asks within 0.1 s counts once.
    """
    url = bench.engine.url
    worker = url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    seen: set[tuple[int, object]] = set()
    with closing(psycopg.connect(worker, autocommit=True)) as connection:
        query = "SELECT pid, query_start FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        before = set(connection.execute(query, [url.database]).fetchall())
        until = time.monotonic() + watched_s
        while time.monotonic() < until:
            seen |= set(connection.execute(query, [url.database]).fetchall())
            time.sleep(ASKED_EVERY_S)
    return len(seen - before)


@pytest.mark.benchmark(group="much is pending, all far away")
def test_memory_of_a_server(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    numbers = {"quick": [0, 500], "default": [0, 20_000], "full": [0, 10_000, 100_000, 1_000_000]}[size.name]
    queued = {"quick": [0, 200], "default": [0, 1_000], "full": [0, 10_000]}[size.name]
    watched_s = size.pick(2, 2, 130)
    read_model, queue = make_bench("push_readmodel"), make_bench("oban_style_queue")
    megabytes: dict[tuple[str, int], float] = {}
    asked: dict[int, int] = {}
    kilobytes: dict[int, int] = {}

    def measure() -> None:
        for bench, steps in ((read_model, numbers), (queue, queued)):
            there = 0
            for number in steps:
                first = system_clock() + FAR
                far = [first + timedelta(milliseconds=one) for one in range(there, number)]
                bench.schedule(far, prefix=f"{number}:")
                there = number
                if bench is read_model:
                    kilobytes[number] = bench.ask(STORED)
                with bench.workers() as [worker]:
                    megabytes[bench.design.name, number] = settled_mb(worker)
                    if bench is read_model and number == steps[-1]:
                        bench.engine.dispose()
                        asked[number] = looks(bench, watched_s)

    benchmark.pedantic(measure, rounds=1)

    most = numbers[-1]
    ratio = megabytes["push_readmodel", most] / megabytes["push_readmodel", 0]
    each_kb = (megabytes["oban_style_queue", queued[-1]] - megabytes["oban_style_queue", 0]) * 1000 / queued[-1]
    assert read_model.pending() == most
    found.table(
        ["design", "pending", "MB, all processes of a server", "kB of table and indexes"],
        [
            (
                name,
                f"{number:,}",
                round(mb, 1),
                f"{kilobytes[number]:,}" if name == "push_readmodel" else "in the broker",
            )
            for (name, number), mb in megabytes.items()
        ],
    )
    found.say(
        f"with {most:,} pending a server of the read model has {ratio:.2f} × the memory that it has with none, and "
        f"looked into the "
        f"database {asked[most]} times in {watched_s:.0f} s; a worker of the queue holds {each_kb:.1f} kB for each"
    )
