"""Shared by the benchmarks: designs on live servers in three sizes, and answers printed at the end."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from operator import attrgetter
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Any, Literal, TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import Engine, create_engine, insert, text
from sqlalchemy.orm import Session

from benchmarks.answers import WIDEST, Answer, answers_text, size_text
from duetime import registry
from duetime.app.tables import User
from duetime.app.use_cases import Application
from duetime.clock import system_clock
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.environment import composed_for_design
from duetime.harness.processes.worker_process import WorkerProcess, stop_all
from duetime.interface import Design, Notification
from duetime.settings import Settings

DESIGNS = ("pull_worker", "push_readmodel", "oban_style_queue")
ORDER = (
    "test_schedule",
    "test_drain",
    "test_lateness",
    "test_recovery",
    "test_memory",
    "test_growth",
    "test_churn",
    "test_shards",
    "test_league",
)
"""Of the questions."""
SIZES = ("quick", "default", "full")
CHUNK = 1000
"""Notifications in one ``schedule_many()``."""
ANSWERS: list[Answer] = []
"""Of the benchmarks that ran, in their order."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Size:
    """quick: only shows that it runs. default: a first impression. full: the figures of docs/performance.md."""

    name: Literal["quick", "default", "full"]

    def pick(self, quick: Value, default: Value, full: Value) -> Value:
        return {"quick": quick, "default": default, "full": full}[self.name]


@dataclass(frozen=True)
class Delivery:
    op: str
    at_ns: int


@dataclass
class Findings:
    """The results of a benchmark: stored with its figures (`--benchmark-json`), and printed at the end."""

    benchmark: BenchmarkFixture
    answer: Answer

    def conclude(self, sentence: str) -> None:
        """Add a conclusion: one sentence with a ratio."""
        self.benchmark.extra_info.setdefault("conclusions", []).append(sentence)
        self.answer.conclusions.append(sentence)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.answer.columns, self.answer.rows = columns, rows
        self.benchmark.extra_info["table"] = {"columns": list(columns), "rows": [list(row) for row in rows]}

    def plot(
        self, name: str, *, x: str, y: str, series: Mapping[str, Sequence[tuple[float, float]]], logarithmic: str = ""
    ) -> None:
        """Add points to be drawn as docs/pictures/`name`.svg.

        x, y: labels of the axes, with units. logarithmic: the logarithmic axes, as "x", "y" or "xy".
        """
        axes = {"x": x, "y": y, "logarithmic": logarithmic}
        plots = self.benchmark.extra_info.setdefault("plots", {})
        plots[name] = {**axes, "series": {key: list(points) for key, points in series.items()}}


@dataclass
class PairedFigures:
    """One figure of each contender per round, so that a slow moment of the machine affects all contenders."""

    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, contender: str, figure: float) -> None:
        self.figures.setdefault(contender, []).append(figure)

    def median(self, contender: str) -> float:
        return median(self.figures[contender])

    def ratio(self, contender: str, other: str) -> float:
        """Return the median over the rounds of `contender` / `other`."""
        return median(a / b for a, b in zip(self.figures[contender], self.figures[other], strict=True))


class Bench:
    """One design with its tables, its scheduler and its workers."""

    def __init__(self, design: Design, settings: Settings, engine: Engine, tempdir: Path, directory: Path) -> None:
        self.design = design
        self.settings = settings
        # With a pool, as in an application: a new connection for each transaction would outweigh everything else.
        self.engine = create_engine(engine.url)
        self.scheduler = design.scheduler(settings)
        self.application = Application(self.scheduler, reminder_lead=settings.reminder_lead)
        self._tempdir = tempdir
        self._directory = directory
        self._worker_numbers = count(1)
        self._event_ids: Iterator[int] = count(1)

    def schedule(self, due_times: Sequence[datetime], *, prefix: str = "k") -> None:
        """Schedule one notification for each due time through the scheduler of the design, and commit."""
        with self.scheduling(due_times, prefix=prefix) as commit:
            commit()

    @contextmanager
    def scheduling(self, due_times: Sequence[datetime], *, prefix: str = "k") -> Iterator[Callable[[], None]]:
        """Schedule one notification for each due time in one transaction, and yield its commit."""
        with Session(self.engine) as session:
            for start in range(0, len(due_times), CHUNK):
                notes = [
                    Notification(
                        key=f"{prefix}{start + number}",
                        revision=1,
                        kind="bench",
                        recipient="a@b.example",
                        due_at=due_at,
                    )
                    for number, due_at in enumerate(due_times[start : start + CHUNK])
                ]
                self.scheduler.schedule_many(notes, session=session)
            yield session.commit

    def add_users(self, number: int) -> list[int]:
        ids = list(range(1, number + 1))
        with self.engine.begin() as connection:
            rows = [{"id": i, "name": f"user {i}", "address": f"{i}@example.org", "locale": "en"} for i in ids]
            connection.execute(insert(User), rows)
        return ids

    def create_event(self, due_at: datetime, users: Sequence[int]) -> int:
        """Commit one event with one reminder per user. Returns the id of the event."""
        event_id = next(self._event_ids)
        with Session(self.engine) as session:
            self.application.create_event(
                session,
                event_id=event_id,
                title="benchmark",
                starts_at=due_at + self.settings.reminder_lead,
                user_ids=users,
            )
        return event_id

    def take_event_ids_from(self, ids: Iterator[int]) -> None:
        """Share `ids` between benches whose events are in the same tables."""
        self._event_ids = ids

    @property
    def psycopg_url(self) -> str:
        """The database's URL without SQLAlchemy's driver."""
        return self.settings.database_url.replace("postgresql+psycopg", "postgresql")

    def pending(self) -> int:
        return len(self.design.pending(self.settings, self.engine))

    @contextmanager
    def workers(self, number: int = 1, *, ready: bool = True, **environment: str) -> Iterator[list[WorkerProcess]]:
        """Run `number` workers of the design. Yields them once they are ready, or at once if not `ready`."""
        workers = []
        for _ in range(number):
            name = f"worker-{next(self._worker_numbers)}"
            workers.append(
                WorkerProcess(
                    name=name,
                    role=self.design.roles[0],
                    settings=self.settings.for_worker(name),
                    state=self._directory / name,
                    log=self._directory / f"{name}.log",
                    tempdir=self._tempdir,
                    environment=environment,
                )
            )
        for worker in workers:
            worker.start()
        try:
            for worker in workers if ready else ():
                worker.wait_ready(CancelToken())
            yield workers
        finally:
            stop_all(workers, within_s=10)

    @contextmanager
    def bare(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run ``benchmarks/bare.py`` in its own process."""
        command = [sys.executable, "-m", "benchmarks.bare", *arguments]
        environment = {**composed_for_design(), **self.settings.environment()}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            try:
                yield process
            finally:
                process.terminate()

    def wait_for_deliveries(self, number: int, *, within_s: float = 120) -> list[Delivery]:
        """Wait until `number` deliveries are recorded. Returns all recorded deliveries, ordered by time."""
        path = self.settings.deliveries
        give_up_at, recorded = time.monotonic() + within_s, 0
        while not path.exists():
            assert time.monotonic() < give_up_at, "nothing was delivered"
            time.sleep(0.02)
        # Read only new lines, and seldom: the process under test needs the other core.
        with path.open("rb") as file:
            while (recorded := recorded + file.read().count(b"\n")) < number:
                assert time.monotonic() < give_up_at, f"{recorded} of {number} deliveries after {within_s} s"
                time.sleep(0.1)
        return self.deliveries()

    def deliveries(self) -> list[Delivery]:
        """Return the deliveries recorded so far, ordered by time."""
        if not self.settings.deliveries.exists():
            return []
        records = [json.loads(line) for line in self.settings.deliveries.read_text().splitlines()]
        return sorted((Delivery(record["op"], record["at_ns"]) for record in records), key=attrgetter("at_ns"))

    def delete_deliveries(self) -> None:
        """Delete the recorded deliveries. Stop the workers before."""
        self.settings.deliveries.unlink(missing_ok=True)

    def query_number(self, query: str) -> int:
        """Return the one number that `query` selects."""
        with self.engine.connect() as connection:
            return int(connection.execute(text(query)).scalar_one())

    def execute(self, statement: str) -> None:
        """Execute a statement outside a transaction."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(statement))


def past_due_times(number: int) -> list[datetime]:
    """Return due times an hour ago, one microsecond apart."""
    first = system_clock() - timedelta(hours=1)
    return [first + timedelta(microseconds=index) for index in range(number)]


def rate(delivered: Sequence[Delivery], *, expected: int) -> float:
    """Return the deliveries per second between first and last. Fails unless each notification was delivered once."""
    times = Counter(delivery.op for delivery in delivered)
    assert len(times) == expected, f"{expected - len(times)} were not delivered"
    assert max(times.values()) == 1, "a notification was delivered again"
    return (len(delivered) - 1) / ((delivered[-1].at_ns - delivered[0].at_ns) / 1e9)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--size",
        choices=SIZES,
        default="default",
        help="size of the benchmarks; full takes half an hour",
    )
    parser.addoption("--entrants", default="", metavar="A,B", help="of the league's benchmarks; default: all installed")


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Size:
    return Size(request.config.getoption("--size"))


@pytest.fixture
def findings(benchmark: BenchmarkFixture, size: Size) -> Findings:
    """The group of a benchmark is its question."""
    benchmark.extra_info["size"] = size.name
    ANSWERS.append(Answer(str(benchmark.group)))
    return Findings(benchmark, ANSWERS[-1])


@pytest.fixture
def make_bench(
    settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Bench]]:
    """Make benches by the name of their design, all on one database and one broker. `changed`: other settings."""
    made: list[Bench] = []

    def make(name: str, **changed: Any) -> Bench:
        design = registry.load(name)
        directory = tmp_path / f"bench-{len(made)}"
        directory.mkdir()
        settings_of_bench: dict[str, Any] = {
            "design": design.name,
            "reminder_lead": timedelta(seconds=10),
            "deliveries": directory / "deliveries.jsonl",
            **changed,
        }
        bench_settings = replace(settings, **settings_of_bench)
        for variable, value in bench_settings.environment().items():
            monkeypatch.setenv(variable, value)
        design.install(engine)
        made.append(Bench(design, bench_settings, engine, tempdir, directory))
        return made[-1]

    yield make
    for bench in made:
        bench.engine.dispose()


def pytest_configure(config: pytest.Config) -> None:
    """Leave out pytest-benchmark's own table, of the durations of rounds; with -v it prints it."""
    config.option.benchmark_quiet = True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask what a reader asks first, first."""
    items.sort(key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else len(ORDER))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if ANSWERS:
        width = shutil.get_terminal_size().columns
        terminalreporter.section("benchmarks by question")
        about = f"{os.cpu_count()} cores, Python {platform.python_version()}; medians and ratios within this run"
        size = config.getoption("--size")
        for line in (about, size_text(size)):
            terminalreporter.line(fill(line, min(width, WIDEST)))
        terminalreporter.line(f"\n{answers_text(ANSWERS, size=size, width=width)}")
