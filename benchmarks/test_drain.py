"""How fast is what is already due worked off, and what is the limit?"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Bench, Found, Paired, Size, past, rate
from duetime.clock import system_clock
from duetime.harness.processes.embedded_servers import POSTGRES_BIN, unprivileged

Make = Callable[..., Bench]

PGBENCH = """
DELETE FROM pending_notifications WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM pending_notifications WHERE attempt_at <= statement_timestamp()
    ORDER BY attempt_at LIMIT 1000 FOR UPDATE SKIP LOCKED)) RETURNING *;
"""


def drained(bench: Bench, rows: int, *, workers: int = 1, **environment: str) -> float:
    """Deliveries a second of so many servers, before whom everything appears at once, due."""
    bench.forget_deliveries()
    with bench.scheduling(past(rows)) as commit, bench.workers(workers, **environment):
        commit()
        return rate(bench.wait_for_deliveries(rows), expected=rows)


def drained_by_one_that_planned_well(bench: Bench, rows: int) -> float:
    """The same by a server that was started on a table which was full, and analysed; others start on an empty one."""
    bench.schedule([system_clock() + timedelta(days=1)] * rows, prefix="far")
    settled(bench)
    figure = drained(bench, rows)
    bench.execute("TRUNCATE pending_notifications")
    return figure


def drained_queue(bench: Bench, rows: int) -> float:
    """The same of a queue that was filled while no server was up: what is published past its ETA is due."""
    bench.forget_deliveries()
    bench.schedule(past(rows))
    with bench.workers(ready=False):
        return rate(bench.wait_for_deliveries(rows), expected=rows)


def drained_bare(bench: Bench, rows: int, *how: str) -> float:
    bench.forget_deliveries()
    bench.schedule(past(rows))
    with bench.bare(*how):
        return rate(bench.wait_for_deliveries(rows), expected=rows)


def settled(bench: Bench) -> None:
    """As after a night's rest: vacuumed, analysed, and with the log written out."""
    bench.execute("VACUUM ANALYZE pending_notifications")
    bench.execute("CHECKPOINT")


@pytest.mark.benchmark(group="drain a backlog that is due, one server")
def test_drain_a_backlog(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    rows, singly = size.pick(500, 20_000, 100_000), size.pick(100, 1_000, 5_000)
    queued = size.pick(100, 400, 5_000)
    read_model, queue = make_bench("push_readmodel"), make_bench("oban_style_queue")
    paired = Paired()

    def one_round() -> None:
        settled(read_model)
        paired.note("bare loop", drained_bare(read_model, rows, "pipeline"))
        settled(read_model)
        paired.note("two connections", drained_bare(read_model, rows, "two"))
        settled(read_model)
        paired.note("bare loop, names only", drained_bare(read_model, rows, "pipeline", "--to", "file"))
        settled(read_model)
        paired.note("push_readmodel, full at its start", drained_by_one_that_planned_well(read_model, rows))
        settled(read_model)
        paired.note("push_readmodel", drained(read_model, rows))
        settled(read_model)
        paired.note("bare loop, one by one", drained_bare(read_model, singly, "pipeline", "--batch", "1"))
        settled(read_model)
        paired.note("push_readmodel, one by one", drained(read_model, singly, DUETIME_BATCH_MOST="1"))
        paired.note("oban_style_queue", drained_queue(queue, queued))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 5))

    pairs = {
        "bare loop": "push_readmodel",
        "two connections": "push_readmodel",
        "bare loop, names only": "push_readmodel",
        "oban_style_queue": "push_readmodel",
        "push_readmodel, full at its start": "push_readmodel",
        "bare loop, one by one": "push_readmodel, one by one",
    }
    found.table(
        ["contender", "deliveries a second", "read model ÷ this"],
        [
            (name, round(paired.median(name)), round(paired.ratio(pairs[name], name), 2) if name in pairs else "")
            for name in paired.figures
        ],
    )
    found.say(
        f"the read model delivers {paired.ratio('push_readmodel', 'bare loop'):.0%} of a bare loop with the same "
        f"statements, {paired.ratio('push_readmodel', 'two connections'):.0%} of the fastest form known, and "
        f"{paired.ratio('push_readmodel', 'oban_style_queue'):.0f} × the queue"
    )
    found.say(
        "one by one (a crash repeats at most one) it is "
        f"{paired.ratio('push_readmodel, one by one', 'bare loop, one by one'):.0%} of the bare loop; started on "
        f"an empty table {paired.ratio('push_readmodel', 'push_readmodel, full at its start'):.0%} of a full one"
    )


@pytest.mark.benchmark(group="drain with more servers")
def test_drain_with_more_servers(make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size) -> None:
    quick, slow = make_bench("push_readmodel"), make_bench("push_readmodel", delivery_time=timedelta(milliseconds=20))
    rows, few = size.pick(500, 20_000, 100_000), size.pick(100, 500, 2_000)
    gateways, numbers = Paired(), size.pick(2, 2, 4)
    counts = [number for number in (1, 2, 4) if number <= numbers]

    def one_round() -> None:
        for number in counts:
            settled(quick)
            gateways.note(f"quick {number}", drained(quick, rows, workers=number))
            gateways.note(f"slow {number}", drained(slow, few, workers=number, DUETIME_THREADS="8"))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 5))

    found.table(
        ["workers", "journal gateway, a second", "20 ms gateway, 8 threads, a second"],
        [(n, round(gateways.median(f"quick {n}")), round(gateways.median(f"slow {n}"))) for n in counts],
    )
    found.plot(
        "throughput",
        x="workers",
        y="times one server",
        series={
            "20 ms gateway, 8 threads": [(n, gateways.ratio(f"slow {n}", "slow 1")) for n in counts],
            "journal gateway": [(n, gateways.ratio(f"quick {n}", "quick 1")) for n in counts],
        },
    )
    found.say(
        f"two servers are {gateways.ratio('slow 2', 'slow 1'):.2f} × one where deliveries take 20 ms, and "
        f"{gateways.ratio('quick 2', 'quick 1'):.2f} × where they take none and both cores are busy already"
    )


@pytest.mark.benchmark(group="the same statement under pgbench")
def test_drain_by_pgbench(
    make_bench: Make, benchmark: BenchmarkFixture, found: Found, size: Size, tempdir: Path
) -> None:
    """A claim that deletes at once, from the front each time: nobody reads the rows, and nothing is delivered."""
    read_model, rows = make_bench("push_readmodel"), size.pick(2000, 20_000, 100_000)
    paired = Paired()
    script = tempdir / "claim.sql"
    script.write_text(PGBENCH)
    url = read_model.engine.url

    def one_round() -> None:
        read_model.schedule(past(rows))
        settled(read_model)
        socket, name = url.query["host"], url.database
        command = [POSTGRES_BIN / "pgbench", "-h", socket, "-U", "postgres", "-n", "-M", "prepared", "-f", script]
        command += ["-t", str(rows // 1000), name]
        environment = {**os.environ, "PGOPTIONS": "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off"}
        done = subprocess.run(
            [*unprivileged(), *map(str, command)], env=environment, capture_output=True, text=True, check=True
        )
        tps = next(line for line in done.stdout.splitlines() if line.startswith("tps"))
        paired.note("pgbench", float(tps.split()[2]) * 1000)
        assert read_model.pending() == 0
        settled(read_model)
        paired.note("push_readmodel", drained(read_model, rows))

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 3))

    found.table(["contender", "rows a second"], [(name, round(paired.median(name))) for name in paired.figures])
    found.say(
        f"the read model delivers {paired.ratio('push_readmodel', 'pgbench'):.0%} of the rows that pgbench deletes by "
        "one statement for a thousand of them, reading none"
    )
