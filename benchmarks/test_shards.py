"""What does a second PostgreSQL add, and where is the limit of the first?

Both servers share the cores of this machine with the workers and the clients. So a ratio of 1 does not mean that a
second server on a machine of its own adds nothing: the processor time of each notification says what it would add.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from statistics import median

import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from benchmarks.conftest import Bench, Findings, PairedFigures, Size, past_due_times, rate
from duetime import registry
from duetime.harness.processes.embedded_servers import EmbeddedServer, initialise_cluster, postgres
from duetime.harness.processes.environment import composed_for_design
from duetime.settings import Settings

FLUSH_TIME = "SELECT coalesce(sum(fsync_time), 0) * 1000 FROM pg_stat_io WHERE object = 'wal'"
"""In microseconds."""
WAL_BYTES = "SELECT wal_bytes FROM pg_stat_wal"
SOON, FAR = timedelta(minutes=30), timedelta(days=30)
"""A commit that schedules within the hour has a NOTIFY, and such commits run one at a time on a server."""

Counted = tuple[float, float, float]
"""Microseconds of the server's processor time, microseconds of its flushes of the log, bytes of its log."""


@dataclass
class Shard:
    """One server, and a bench of the read model on it."""

    server: EmbeddedServer
    bench: Bench

    def settle(self) -> None:
        self.bench.execute("VACUUM ANALYZE pending_notifications")
        self.bench.execute("CHECKPOINT")

    def count(self) -> Counted:
        main = psutil.Process(self.server.pid)
        ended = main.cpu_times()
        used_s = ended.children_user + ended.children_system + processor_s([main, *main.children(recursive=True)])
        return used_s * 1e6, self.bench.query_number(FLUSH_TIME), self.bench.query_number(WAL_BYTES)


@dataclass
class Costs:
    """What one notification costs, by contender, in each round."""

    figures: dict[str, list[Sequence[float]]] = field(default_factory=dict)

    def add(self, contender: str, shards: Sequence[Shard], before: Sequence[Counted], others_s: float, n: int) -> None:
        """others_s: processor time of the workers or clients."""
        after = [shard.count() for shard in shards]
        used = [sum(b[i] - a[i] for a, b in zip(before, after, strict=True)) / n for i in range(3)]
        self.figures.setdefault(contender, []).append((used[0], others_s * 1e6 / n, used[1], used[2]))

    def medians(self, contender: str) -> list[int]:
        return [round(median(column)) for column in zip(*self.figures[contender], strict=True)]


COSTS = [
    "PostgreSQL, µs of a core each",
    "workers or clients, µs of a core each",
    "log flushes, µs each",
    "log, bytes each",
]


@pytest.fixture
def shards(settings: Settings, tempdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Shard]]:
    """Two servers, each with the read model; their workers write into one file of deliveries."""
    template, directory = tempdir / f"{tmp_path.name}-template", tempdir / f"{tmp_path.name}-shards"
    directory.mkdir()
    initialise_cluster(template, tempdir=tempdir)
    design = registry.load("push_readmodel")
    with ExitStack() as stack:
        made = []
        for name in ("a", "b"):
            url, server = stack.enter_context(
                postgres(directory / name, template=template, tempdir=tempdir, settings=("track_wal_io_timing=on",))
            )
            engine = create_engine(url, poolclass=NullPool)
            design.install(engine)
            (tmp_path / name).mkdir()
            own = replace(settings, design=design.name, database_url=url)
            made.append(Shard(server, Bench(design, own, engine, tempdir, tmp_path / name)))
            stack.callback(made[-1].bench.engine.dispose)
        for variable, value in settings.environment().items():
            monkeypatch.setenv(variable, value)
        yield made


@pytest.fixture
def fleet(shards: list[Shard], tempdir: Path, tmp_path: Path) -> Bench:
    """Workers that drain both servers."""
    design, first = registry.load("push_readmodel:sharded"), shards[0].bench
    urls = tuple(shard.bench.settings.database_url for shard in shards)
    (tmp_path / "fleet").mkdir()
    settings = replace(first.settings, design=design.name, shards=urls)
    return Bench(design, settings, first.engine, tempdir, tmp_path / "fleet")


def processor_s(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        used = process.cpu_times()
        total += used.user + used.system
    return total


@pytest.mark.benchmark(group="How fast is a backlog drained from two PostgreSQLs?")
def test_drain_two_servers(
    shards: list[Shard], fleet: Bench, benchmark: BenchmarkFixture, findings: Findings, size: Size
) -> None:
    """Two workers in each case. `rows` are due at one instant, half of them in each shard."""
    rows, paired, costs = size.pick(200, 20_000, 20_000), PairedFigures(), Costs()
    first, second = shards
    contenders: dict[str, tuple[Sequence[Shard], Sequence[tuple[Bench, int]]]] = {
        "one server": ([first], [(first.bench, 2)]),
        "two servers, each worker drains both": (shards, [(fleet, 2)]),
        "two servers, a worker each": (shards, [(first.bench, 1), (second.bench, 1)]),
    }

    def one_round() -> None:
        for name, (used, workers) in contenders.items():
            for shard in used:
                shard.settle()
            with ExitStack() as stack:
                first.bench.delete_deliveries()
                due_times = past_due_times(rows // len(used))
                commits = [
                    stack.enter_context(shard.bench.scheduling(due_times, prefix=f"{number}:"))
                    for number, shard in enumerate(used)
                ]
                running = [one for bench, number in workers for one in stack.enter_context(bench.workers(number))]
                processes = [psutil.Process(pid) for worker in running for pid in worker.pids()]
                before, before_s = [shard.count() for shard in used], processor_s(processes)
                for commit in commits:
                    commit()
                paired.add(name, rate(first.bench.wait_for_deliveries(rows), expected=rows))
                workers_s = processor_s(processes) - before_s
            # After the workers' end, because a session reports its flushes at its end at the latest.
            costs.add(name, used, before, workers_s, rows)

    benchmark.pedantic(one_round, rounds=size.pick(1, 1, 5))

    alone, both, own = contenders
    findings.table(
        ["two workers", "deliveries a second", "÷ one server", *COSTS],
        [(n, round(paired.median(n)), round(paired.ratio(n, alone), 2), *costs.medians(n)) for n in contenders],
    )
    findings.conclude(
        f"from two servers that share two cores, two workers that drain both deliver {paired.ratio(both, alone):.2f} × "
        f"what two deliver from one server, and a worker for each {paired.ratio(own, alone):.2f} ×"
    )
    server_us, workers_us, flush_us, _ = costs.medians(alone)
    findings.conclude(
        f"one server needs {server_us} µs of a core for a delivery, its worker {workers_us}, and flushes of the log "
        f"take {flush_us} µs: PostgreSQL has {server_us / (server_us + workers_us):.0%} of the processor time"
    )


@contextmanager
def clients(
    shards: Sequence[Shard], number: int, prefix: str, calls: int, ahead: timedelta
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start `number` clients, in turn on each of `shards`, and yield them when they are ready."""
    with ExitStack() as stack:
        started = []
        for index in range(number):
            command = [sys.executable, "-m", "benchmarks.schedule_client", f"{prefix}{index}", str(calls)]
            environment = {**composed_for_design(), **shards[index % len(shards)].bench.settings.environment()}
            process = subprocess.Popen(
                [*command, str(ahead.total_seconds())],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            started.append(stack.enter_context(process))
            stack.callback(process.kill)
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started


def scheduled(processes: Sequence[subprocess.Popen[str]], calls: int) -> tuple[float, float]:
    """Begin all clients. Returns the calls per second of all together, and their processor time in seconds."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("begin\n")
        process.stdin.flush()
    figures = []
    for process in processes:
        assert process.stdout is not None
        figures.append([float(figure) for figure in process.stdout.readline().split()])
        process.wait()
    began, ended, used = zip(*figures, strict=True)
    return calls * len(processes) / ((max(ended) - min(began)) / 1e9), sum(used)


@pytest.mark.benchmark(group="How fast do four clients schedule on two PostgreSQLs?")
def test_calls_on_two_servers(shards: list[Shard], benchmark: BenchmarkFixture, findings: Findings, size: Size) -> None:
    """Each call in a transaction of its own, by the same clients on one server, or half of them on each of two."""
    number, calls, keys = size.pick(2, 4, 4), size.pick(20, 250, 500), count()
    paired, costs = PairedFigures(), Costs()
    cases = {"due in 30 days": FAR, "due within the hour, with a NOTIFY": SOON}
    servers = {"one server": shards[:1], "two servers": shards}

    def one_round() -> None:
        for case, ahead in cases.items():
            for name, used in servers.items():
                for shard in used:
                    shard.settle()
                with clients(used, number, f"{next(keys)}:", calls, ahead) as ready:
                    before = [shard.count() for shard in used]
                    a_second, used_s = scheduled(ready, calls)
                costs.add(f"{name}, {case}", used, before, used_s, calls * number)
                paired.add(f"{name}, {case}", a_second)

    benchmark.pedantic(one_round, rounds=size.pick(1, 2, 5))

    findings.table(
        [f"{number} clients", "schedule() a second", "÷ one server", *COSTS],
        [
            (
                name,
                round(paired.median(name)),
                round(paired.ratio(name, name.replace("two servers", "one server")), 2),
                *costs.medians(name),
            )
            for name in paired.figures
        ],
    )
    far, soon = (paired.ratio(f"two servers, {case}", f"one server, {case}") for case in cases)
    server_us, clients_us, flush_us, _ = costs.medians(next(iter(paired.figures)))
    findings.conclude(
        f"a call takes {server_us} µs of a core in PostgreSQL, {clients_us} in the client, and {flush_us} µs of "
        "flushes of the log"
    )
    findings.conclude(
        f"on two servers that share two cores, {number} clients schedule {far:.2f} × as fast as on one, and "
        f"{soon:.2f} × where each commit has a NOTIFY"
    )
