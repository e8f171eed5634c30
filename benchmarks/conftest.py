"""What the benchmarks share: designs on live servers, three sizes, and a line for each question at the end."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from typing import Literal, TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import Engine, create_engine, insert, text
from sqlalchemy.orm import Session

from duetime import registry
from duetime.app.tables import User
from duetime.app.use_cases import Application
from duetime.clock import system_clock
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.worker_process import WorkerProcess, stop_all
from duetime.interface import Design, Notification
from duetime.settings import Settings

DESIGNS = ("pull_worker", "push_readmodel", "oban_style_queue")
SIZES = ("quick", "default", "full")
CHUNK = 1000
"""Notifications in one ``schedule_many``."""
SAID: list[str] = []

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Size:
    """quick: whether it runs at all. default: a first impression. full: the numbers of docs/performance.md."""

    name: Literal["quick", "default", "full"]

    def pick(self, quick: Number, default: Number, full: Number) -> Number:
        return {"quick": quick, "default": default, "full": full}[self.name]


@dataclass(frozen=True)
class Delivery:
    op: str
    at_ns: int


@dataclass
class Found:
    """What a benchmark found: kept with its figures (`--benchmark-json`), and told at the end."""

    benchmark: BenchmarkFixture
    question: str

    def say(self, sentence: str) -> None:
        """One line that says what it means, with a ratio in it."""
        self.benchmark.extra_info.setdefault("said", []).append(sentence)
        SAID.append(f"{self.question}: {sentence}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.benchmark.extra_info["table"] = {"columns": list(columns), "rows": [list(row) for row in rows]}

    def plot(
        self, name: str, *, x: str, y: str, series: Mapping[str, Sequence[tuple[float, float]]], logarithmic: str = ""
    ) -> None:
        """Points to be drawn as docs/pictures/`name`.svg.

        x, y: what the axes say, units included. logarithmic: which axes are, as "x", "y" or "xy".
        """
        drawn = {"x": x, "y": y, "logarithmic": logarithmic}
        plots = self.benchmark.extra_info.setdefault("plots", {})
        plots[name] = {**drawn, "series": {key: list(points) for key, points in series.items()}}


@dataclass
class Paired:
    """One figure of each contender a round, so that a slow moment of the machine concerns them all."""

    figures: dict[str, list[float]] = field(default_factory=dict)

    def note(self, contender: str, figure: float) -> None:
        self.figures.setdefault(contender, []).append(figure)

    def median(self, contender: str) -> float:
        return median(self.figures[contender])

    def ratio(self, contender: str, other: str) -> float:
        """The median of the ratios, round by round."""
        return median(a / b for a, b in zip(self.figures[contender], self.figures[other], strict=True))


class Bench:
    """One design with its tables, its scheduler, and as many servers as asked for."""

    def __init__(self, design: Design, settings: Settings, engine: Engine, tempdir: Path, own: Path) -> None:
        self.design = design
        self.settings = settings
        # With a pool, as an application has it: a connection for each transaction would hide everything else.
        self.engine = create_engine(engine.url)
        self.scheduler = design.scheduler(settings)
        self.application = Application(self.scheduler, reminder_lead=settings.reminder_lead)
        self._tempdir = tempdir
        self._own = own
        self._numbers = count(1)

    def schedule(self, dues: Sequence[datetime], *, prefix: str = "k") -> None:
        """Schedule one notification for each of `dues`, straight at the design's scheduler, and commit."""
        with self.scheduling(dues, prefix=prefix) as commit:
            commit()

    @contextmanager
    def scheduling(self, dues: Sequence[datetime], *, prefix: str = "k") -> Iterator[Callable[[], None]]:
        """Schedule them all in one transaction, and give its commit: only then is there anything to be seen."""
        with Session(self.engine) as session:
            for start in range(0, len(dues), CHUNK):
                notes = [
                    Notification(
                        key=f"{prefix}{start + number}",
                        revision=1,
                        kind="bench",
                        recipient="a@b.example",
                        due_at=due_at,
                    )
                    for number, due_at in enumerate(dues[start : start + CHUNK])
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
        """One committed transaction: the business rows, and one reminder a user; the event's number."""
        event = next(self._numbers)
        with Session(self.engine) as session:
            self.application.create_event(
                session,
                event_id=event,
                title="benchmark",
                starts_at=due_at + self.settings.reminder_lead,
                user_ids=users,
            )
        return event

    def number_events_by(self, numbers: Iterator[int]) -> None:
        """Benches whose events stand in the same tables number them together."""
        self._numbers = numbers

    def pending(self) -> int:
        return len(self.design.pending(self.settings, self.engine))

    @contextmanager
    def workers(self, number: int = 1, *, ready: bool = True, **environment: str) -> Iterator[list[WorkerProcess]]:
        """So many servers of the design, `ready` or not."""
        workers = []
        for _ in range(number):
            name = f"worker-{next(self._numbers)}"
            workers.append(
                WorkerProcess(
                    name=name,
                    role=self.design.roles[0],
                    settings=self.settings.for_worker(name),
                    state=self._own / name,
                    log=self._own / f"{name}.log",
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
        """A ceiling of ``benchmarks/bare.py``, in a process of its own."""
        command = [sys.executable, "-m", "benchmarks.bare", *arguments]
        environment = {**os.environ, **self.settings.environment()}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            try:
                yield process
            finally:
                process.terminate()

    def wait_for_deliveries(self, number: int, *, within_s: float = 120) -> list[Delivery]:
        """Wait until `number` deliveries are recorded; return all that are, in order of time."""
        path = self.settings.deliveries
        give_up_at, seen = time.monotonic() + within_s, 0
        while not path.exists():
            assert time.monotonic() < give_up_at, "nothing was delivered"
            time.sleep(0.02)
        # Only what is new, and seldom: whoever is measured has the machine's other core.
        with path.open("rb") as file:
            while (seen := seen + file.read().count(b"\n")) < number:
                assert time.monotonic() < give_up_at, f"{seen} of {number} deliveries after {within_s} s"
                time.sleep(0.1)
        return self.deliveries()

    def deliveries(self) -> list[Delivery]:
        """What is recorded by now, in order of time."""
        if not self.settings.deliveries.exists():
            return []
        records = [json.loads(line) for line in self.settings.deliveries.read_text().splitlines()]
        return sorted((Delivery(record["op"], record["at_ns"]) for record in records), key=lambda one: one.at_ns)

    def forget_deliveries(self) -> None:
        """Whoever delivered them must be stopped."""
        self.settings.deliveries.unlink(missing_ok=True)

    def ask(self, question: str) -> int:
        """The one number that `question` selects."""
        with self.engine.connect() as connection:
            return int(connection.execute(text(question)).scalar_one())

    def execute(self, statement: str) -> None:
        """One statement outside a transaction."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(statement))


def past(number: int) -> list[datetime]:
    """Due times that are over, a microsecond apart."""
    first = system_clock() - timedelta(hours=1)
    return [first + timedelta(microseconds=one) for one in range(number)]


def rate(delivered: Sequence[Delivery], *, expected: int) -> float:
    """Deliveries a second between the first and the last; each must have come once."""
    times = Counter(one.op for one in delivered)
    assert len(times) == expected, f"{expected - len(times)} were not delivered"
    assert max(times.values()) == 1, "something was delivered twice"
    return (len(delivered) - 1) / ((delivered[-1].at_ns - delivered[0].at_ns) / 1e9)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--size",
        choices=SIZES,
        default="default",
        help="of the benchmarks: quick, default, or full, which takes half an hour",
    )


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Size:
    return Size(request.config.getoption("--size"))


@pytest.fixture
def found(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Found:
    return Found(benchmark, request.node.originalname.removeprefix("test_").replace("_", " "))


@pytest.fixture
def make_bench(
    settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Bench]]:
    """Makes benches of designs by name, all on one database and one broker; `changed` are settings that differ."""
    made: list[Bench] = []

    def make(name: str, **changed: object) -> Bench:
        design = registry.load(name)
        own = tmp_path / f"bench-{len(made)}"
        own.mkdir()
        mine = replace(
            settings,
            **{
                "design": design.name,
                "reminder_lead": timedelta(seconds=10),
                "deliveries": own / "deliveries.jsonl",
                **changed,
            },
        )
        for variable, value in mine.environment().items():
            monkeypatch.setenv(variable, value)
        design.install(engine)
        made.append(Bench(design, mine, engine, tempdir, own))
        return made[-1]

    yield make
    for bench in made:
        bench.engine.dispose()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SAID:
        terminalreporter.section("what it means")
        terminalreporter.line(
            f"{os.cpu_count()} cores, Python {platform.python_version()}; ratios and medians within this run"
        )
        for sentence in SAID:
            terminalreporter.line(f"- {sentence}")
