"""What does a large number of far-off notifications cost a worker?"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import psutil
import psycopg
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Bench, Findings, Size
from duetime.clock import system_clock
from duetime.harness.processes.worker_process import WorkerProcess

MakeBench = Callable[..., Bench]

FAR = timedelta(days=100)
SETTLED_AFTER_S = 1.0
TABLE_KB = "SELECT pg_total_relation_size('pending_notifications') / 1024"
SAMPLE_EVERY_S = 0.1


def memory_mb(worker: WorkerProcess) -> float:
    return sum(psutil.Process(pid).memory_info().rss for pid in worker.pids()) / 1e6


def settled_mb(worker: WorkerProcess) -> float:
    """Return the memory once it has stopped growing: a worker of the queue first receives all its tasks."""
    before = memory_mb(worker)
    while True:
        time.sleep(SETTLED_AFTER_S)
        if (now := memory_mb(worker)) <= before * 1.001:
            return now
        before = now


def count_queries(bench: Bench, seconds: float) -> int:
    """Return how many queries the workers send within `seconds`, observed from another database.

    Queries of a connection within `SAMPLE_EVERY_S` count as one.
    """
    url = bench.engine.url
    maintenance_url = url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    seen: set[tuple[int, object]] = set()
    with closing(psycopg.connect(maintenance_url, autocommit=True)) as connection:
        query = "SELECT pid, query_start FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        before = set(connection.execute(query, [url.database]).fetchall())
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            seen |= set(connection.execute(query, [url.database]).fetchall())
            time.sleep(SAMPLE_EVERY_S)
    return len(seen - before)


@pytest.mark.benchmark(group="What do many far-off notifications cost a worker?")
def test_memory_of_a_worker(make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size) -> None:
    numbers = {"quick": [0, 500], "default": [0, 20_000], "full": [0, 10_000, 100_000, 1_000_000]}[size.name]
    queued = {"quick": [0, 200], "default": [0, 1_000], "full": [0, 10_000]}[size.name]
    observed_s = size.pick(2, 2, 130)
    read_model, queue = make_bench("push_readmodel"), make_bench("oban_style_queue")
    megabytes: dict[tuple[str, int], float] = {}
    queries: dict[int, int] = {}
    kilobytes: dict[int, int] = {}

    def measure() -> None:
        for bench, steps in ((read_model, numbers), (queue, queued)):
            pending = 0
            for number in steps:
                first = system_clock() + FAR
                due_times = [first + timedelta(milliseconds=index) for index in range(pending, number)]
                bench.schedule(due_times, prefix=f"{number}:")
                pending = number
                if bench is read_model:
                    kilobytes[number] = bench.query_number(TABLE_KB)
                with bench.workers() as [worker]:
                    megabytes[bench.design.name, number] = settled_mb(worker)
                    if bench is read_model and number == steps[-1]:
                        bench.engine.dispose()
                        queries[number] = count_queries(bench, observed_s)

    benchmark.pedantic(measure, rounds=1)

    most = numbers[-1]
    ratio = megabytes["push_readmodel", most] / megabytes["push_readmodel", 0]
    each_kb = (megabytes["oban_style_queue", queued[-1]] - megabytes["oban_style_queue", 0]) * 1000 / queued[-1]
    assert read_model.pending() == most
    findings.table(
        ["design", "pending", "MB, all processes of a worker", "kB of table and indexes"],
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
    findings.conclude(
        f"with {most:,} pending a worker of the read model has {ratio:.2f} × the memory that it has with none, and "
        f"queried the database {queries[most]} times in {observed_s:.0f} s; a worker of the queue holds "
        f"{each_kb:.1f} kB for each"
    )
