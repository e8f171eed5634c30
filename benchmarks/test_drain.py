"""How fast is a due backlog delivered, and what is the limit?"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from benchmarks.conftest import Bench, Findings, PairedFigures, Size, past_due_times, rate
from duetime import registry
from duetime.clock import system_clock
from duetime.harness.processes.embedded_servers import POSTGRES_BIN, unprivileged
from duetime.harness.processes.environment import composed
from duetime.harness.processes.external_services import own_database
from duetime.harness.processes.services import Endpoints
from duetime.interface import Design
from duetime.settings import Settings
from push_readmodel.partitions import install_partitioned

MakeBench = Callable[..., Bench]

PGBENCH = """
DELETE FROM pending_notifications WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM pending_notifications WHERE attempt_at <= statement_timestamp()
    ORDER BY attempt_at LIMIT 1000 FOR UPDATE SKIP LOCKED)) RETURNING *;
"""


def drained(bench: Bench, rows: int, *, workers: int = 1, **environment: str) -> float:
    """Return the deliveries per second of running workers after `rows` due rows are committed at once."""
    bench.delete_deliveries()
    with bench.scheduling(past_due_times(rows)) as commit, bench.workers(workers, ready=True, **environment):
        commit()
        return rate(bench.wait_for_deliveries(rows), expected=rows)


def drained_after_start_on_full_table(bench: Bench, rows: int) -> float:
    """Return the same for a worker that planned its statements on a full, analysed table, not on an empty one."""
    bench.schedule([system_clock() + timedelta(days=1)] * rows, prefix="far")
    settle(bench)
    figure = drained(bench, rows)
    bench.execute("TRUNCATE pending_notifications")
    return figure


def drained_queue(bench: Bench, rows: int) -> float:
    """Return the same for a queue that was filled while its workers were down: a task past its ETA is due."""
    bench.delete_deliveries()
    bench.schedule(past_due_times(rows))
    with bench.workers(ready=False):
        return rate(bench.wait_for_deliveries(rows), expected=rows)


def drained_bare(bench: Bench, rows: int, *arguments: str) -> float:
    bench.delete_deliveries()
    bench.schedule(past_due_times(rows))
    with bench.bare(*arguments):
        return rate(bench.wait_for_deliveries(rows), expected=rows)


def settle(bench: Bench) -> None:
    """Vacuum, analyse, and write out the log."""
    bench.execute("VACUUM ANALYZE pending_notifications")
    bench.execute("CHECKPOINT")


@pytest.mark.benchmark(group="How fast is a backlog drained by one worker?")
def test_drain_a_backlog(make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size) -> None:
    rows, one_by_one = size.pick(500, 20_000, 100_000), size.pick(100, 1_000, 5_000)
    queued = size.pick(100, 400, 5_000)
    read_model, queue = make_bench("push_readmodel"), make_bench("oban_style_queue")
    paired = PairedFigures()

    def one_round() -> None:
        settle(read_model)
        paired.add("bare loop", drained_bare(read_model, rows, "pipeline"))
        settle(read_model)
        paired.add("two connections", drained_bare(read_model, rows, "two"))
        settle(read_model)
        paired.add("bare loop, keys only", drained_bare(read_model, rows, "pipeline", "--to", "file"))
        settle(read_model)
        paired.add("push_readmodel, full at its start", drained_after_start_on_full_table(read_model, rows))
        settle(read_model)
        paired.add("push_readmodel", drained(read_model, rows))
        settle(read_model)
        paired.add("bare loop, one by one", drained_bare(read_model, one_by_one, "pipeline", "--batch", "1"))
        settle(read_model)
        paired.add("push_readmodel, one by one", drained(read_model, one_by_one, DUETIME_BATCH_MOST="1"))
        paired.add("oban_style_queue", drained_queue(queue, queued))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 5))

    pairs = {
        "bare loop": "push_readmodel",
        "two connections": "push_readmodel",
        "bare loop, keys only": "push_readmodel",
        "oban_style_queue": "push_readmodel",
        "push_readmodel, full at its start": "push_readmodel",
        "bare loop, one by one": "push_readmodel, one by one",
    }
    findings.table(
        ["contender", "deliveries a second", "read model ÷ this"],
        [
            (name, round(paired.median(name)), round(paired.ratio(pairs[name], name), 2) if name in pairs else "")
            for name in paired.figures
        ],
    )
    findings.conclude(
        f"the read model delivers {paired.ratio('push_readmodel', 'bare loop'):.0%} of a bare loop with the same "
        f"statements, {paired.ratio('push_readmodel', 'two connections'):.0%} of the fastest form known, and "
        f"{paired.ratio('push_readmodel', 'oban_style_queue'):.0f} × the queue"
    )
    findings.conclude(
        "one by one (a crash duplicates at most one delivery) it is "
        f"{paired.ratio('push_readmodel, one by one', 'bare loop, one by one'):.0%} of the bare loop; started on "
        f"an empty table {paired.ratio('push_readmodel', 'push_readmodel, full at its start'):.0%} of a full one"
    )


@pytest.mark.benchmark(group="How fast is a backlog drained by more workers?")
def test_drain_with_more_workers(
    make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    fast, slow = make_bench("push_readmodel"), make_bench("push_readmodel", delivery_time=timedelta(milliseconds=20))
    rows, few = size.pick(500, 20_000, 100_000), size.pick(100, 500, 2_000)
    paired, numbers = PairedFigures(), size.pick(2, 2, 4)
    counts = [number for number in (1, 2, 4) if number <= numbers]

    def one_round() -> None:
        for number in counts:
            settle(fast)
            paired.add(f"fast {number}", drained(fast, rows, workers=number))
            paired.add(f"slow {number}", drained(slow, few, workers=number, DUETIME_THREADS="8"))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 5))

    findings.table(
        ["workers", "journal gateway, a second", "20 ms gateway, 8 threads, a second"],
        [(n, round(paired.median(f"fast {n}")), round(paired.median(f"slow {n}"))) for n in counts],
    )
    findings.plot(
        "throughput",
        x="workers",
        y="times one worker",
        series={
            "20 ms gateway, 8 threads": [(n, paired.ratio(f"slow {n}", "slow 1")) for n in counts],
            "journal gateway": [(n, paired.ratio(f"fast {n}", "fast 1")) for n in counts],
        },
    )
    findings.conclude(
        f"two workers are {paired.ratio('slow 2', 'slow 1'):.2f} × one where deliveries take 20 ms, and "
        f"{paired.ratio('fast 2', 'fast 1'):.2f} × where they take no time and both cores are busy"
    )


@pytest.mark.benchmark(group="How fast is the same statement under pgbench?")
def test_drain_by_pgbench(
    make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size, tempdir: Path
) -> None:
    """A claim that deletes the rows itself, from the front each time: no row is read, and nothing is delivered."""
    read_model, rows = make_bench("push_readmodel"), size.pick(2000, 20_000, 100_000)
    paired = PairedFigures()
    script = tempdir / "claim.sql"
    script.write_text(PGBENCH)
    url = read_model.engine.url

    def one_round() -> None:
        read_model.schedule(past_due_times(rows))
        settle(read_model)
        socket, name = url.query["host"], url.database
        command = [POSTGRES_BIN / "pgbench", "-h", socket, "-U", "postgres", "-n", "-M", "prepared", "-f", script]
        command += ["-t", str(rows // 1000), name]
        environment = {**composed(), "PGOPTIONS": "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off"}
        finished = subprocess.run(
            [*unprivileged(), *map(str, command)], env=environment, capture_output=True, text=True, check=True
        )
        tps = next(line for line in finished.stdout.splitlines() if line.startswith("tps"))
        paired.add("pgbench", float(tps.split()[2]) * 1000)
        assert read_model.pending() == 0
        settle(read_model)
        paired.add("push_readmodel", drained(read_model, rows))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 3))

    findings.table(["contender", "rows a second"], [(name, round(paired.median(name))) for name in paired.figures])
    findings.conclude(
        f"the read model delivers {paired.ratio('push_readmodel', 'pgbench'):.0%} of the rows that pgbench deletes by "
        "one statement per thousand, reading none"
    )


@pytest.mark.benchmark(group="How fast is a table in partitions drained?")
def test_drain_in_partitions(
    make_bench: MakeBench, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    bench, rows = make_bench("push_readmodel"), size.pick(500, 20_000, 100_000)
    paired = PairedFigures()

    def one_round() -> None:
        for partitions in (0, 8, 64):
            bench.execute("DROP TABLE pending_notifications")
            if partitions:
                install_partitioned(bench.engine, partitions)
            else:
                bench.design.install(bench.engine)
            settle(bench)
            paired.add(f"{partitions}, 1 worker", drained(bench, rows))
            paired.add(f"{partitions}, 2 workers", drained(bench, rows, workers=2))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 5))

    findings.table(
        ["partitions", "one worker, a second", "two workers, a second"],
        [
            (n or "none", round(paired.median(f"{n}, 1 worker")), round(paired.median(f"{n}, 2 workers")))
            for n in (0, 8, 64)
        ],
    )
    findings.conclude(
        f"in 8 hash partitions one worker delivers {paired.ratio('8, 1 worker', '0, 1 worker'):.0%} of its rate "
        f"from one table, in 64 {paired.ratio('64, 1 worker', '0, 1 worker'):.0%}"
    )


@pytest.mark.benchmark(group="What do workers gain that prefer partitions of their own?")
def test_drain_own_partitions_first(
    settings: Settings,
    shared_servers: Endpoints,
    tempdir: Path,
    tmp_path: Path,
    benchmark: BenchmarkFixture,
    findings: Findings,
    size: Size,
) -> None:
    """A database for each contender, whose workers run all the time and sleep while another's deliver."""
    rows, counts, rounds = size.pick(500, 20_000, 20_000), size.pick((2,), (2, 4), (2, 4)), size.pick(1, 3, 5)
    in_partitions, paired = partial(install_partitioned, partitions=8), PairedFigures()
    plain, preferring = registry.load("push_readmodel"), registry.load("push_readmodel:partitioned")
    contenders: dict[str, tuple[Design, Callable[[Engine], None]]] = {
        "one table": (plain, plain.install),
        "8 partitions": (plain, in_partitions),
        "8 partitions, own first": (preferring, in_partitions),
    }

    def measure() -> None:
        with ExitStack() as stack:
            benches = {}
            for index, (name, (design, install)) in enumerate(contenders.items()):
                url = stack.enter_context(own_database(shared_servers.database_url))
                install(create_engine(url, poolclass=NullPool))
                directory = tmp_path / str(index)
                directory.mkdir()
                own = replace(settings, design=design.name, database_url=url, deliveries=directory / "deliveries.jsonl")
                benches[name] = Bench(design, own, create_engine(url), tempdir, directory)
                stack.callback(benches[name].engine.dispose)
            started = 0
            for number in counts:
                for bench in benches.values():
                    stack.enter_context(bench.workers(number - started))
                started = number
                for _ in range(rounds):
                    for name, bench in benches.items():
                        paired.add(f"{name}, {number}", drained_by_running(bench, rows))

    benchmark.pedantic(measure, rounds=1)

    findings.table(
        ["table", *(f"{number} workers, a second" for number in counts)],
        [(name, *(round(paired.median(f"{name}, {number}")) for number in counts)) for name in contenders],
    )
    for number in counts:
        one, of_all, preferred = (f"{name}, {number}" for name in contenders)
        findings.conclude(
            f"{number} workers that prefer partitions deliver {paired.ratio(preferred, of_all):.0%} of what they "
            f"deliver from all 8, and {paired.ratio(preferred, one):.0%} of what they deliver from one table"
        )


def drained_by_running(bench: Bench, rows: int) -> float:
    """Return the deliveries per second of workers that run already."""
    settle(bench)
    before = len(bench.deliveries())
    with bench.scheduling(past_due_times(rows), prefix=f"{before}:") as commit:
        commit()
    return rate(bench.wait_for_deliveries(before + rows)[before:], expected=rows)
