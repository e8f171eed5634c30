"""What the benchmarks share: one design on live servers, and a table of headlines at the end."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, insert
from sqlalchemy.orm import Session

from duetime import registry
from duetime.app.tables import User
from duetime.app.use_cases import Application
from duetime.harness.servers import Server, stop_all
from duetime.harness.stopping import StopSignal
from duetime.interface import Design
from duetime.settings import Settings

DESIGNS = ("pull_worker", "push_readmodel", "oban_style_queue")
HEADLINES: list[str] = []


@dataclass(frozen=True)
class Delivery:
    op: str
    at_ns: int


class Bench:
    """One design with its tables, its scheduler behind the application, and a server when asked for one."""

    def __init__(self, design: Design, settings: Settings, engine: Engine, place: Path, own: Path) -> None:
        self.design = design
        # With a pool, as an application has it: a connection for each transaction would hide everything else.
        self.engine = create_engine(engine.url)
        self._settings = settings
        self._place = place
        self._own = own
        self._events = 0
        self.application = Application(design.scheduler(settings), reminder_lead=settings.reminder_lead)

    def add_users(self, count: int) -> list[int]:
        ids = list(range(1, count + 1))
        with self.engine.begin() as connection:
            rows = [{"id": i, "name": f"user {i}", "address": f"{i}@example.org", "locale": "en"} for i in ids]
            connection.execute(insert(User), rows)
        return ids

    def create_event(self, due_at: datetime, users: Sequence[int]) -> None:
        """One committed transaction: the business rows, and one schedule() a user."""
        self._events += 1
        with Session(self.engine) as session:
            self.application.create_event(
                session,
                event_id=self._events,
                title="benchmark",
                starts_at=due_at + self._settings.reminder_lead,
                user_ids=users,
            )

    def pending(self) -> int:
        return len(self.design.pending(self._settings, self.engine))

    @contextmanager
    def server(self) -> Iterator[None]:
        """One server of the design, ready."""
        name = f"server-{time.monotonic_ns()}"
        server = Server(
            name=name,
            role=self.design.roles[0],
            settings=self._settings.for_server(name),
            state=self._own / name,
            log=self._own / "server.log",
            place=self._place,
        )
        server.start()
        try:
            server.wait_ready(StopSignal())
            yield
        finally:
            stop_all([server], within_s=5)

    def wait_for_deliveries(self, count: int, *, within_s: float = 50) -> list[Delivery]:
        """Wait until `count` deliveries are recorded; return all that are."""
        path = self._settings.deliveries
        give_up_at = time.monotonic() + within_s
        while not path.exists() or path.read_bytes().count(b"\n") < count:
            assert time.monotonic() < give_up_at, f"fewer than {count} deliveries after {within_s} s"
            time.sleep(0.05)
        return self.deliveries()

    def deliveries(self) -> list[Delivery]:
        """What is recorded by now, in order of time."""
        records = [json.loads(line) for line in self._settings.deliveries.read_text().splitlines()]
        return sorted((Delivery(record["op"], record["at_ns"]) for record in records), key=lambda d: d.at_ns)

    def forget_deliveries(self) -> None:
        """Servers of one round must be stopped before the next round's are counted."""
        self._settings.deliveries.unlink(missing_ok=True)


@pytest.fixture(params=DESIGNS)
def bench(
    request: pytest.FixtureRequest,
    settings: Settings,
    engine: Engine,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Bench]:
    design = registry.load(request.param)
    mine = replace(settings, design=design.name, reminder_lead=timedelta(seconds=10))
    for name, value in mine.environment().items():
        monkeypatch.setenv(name, value)
    design.install(engine)
    bench = Bench(design, mine, engine, place, tmp_path)
    yield bench
    bench.engine.dispose()


@pytest.fixture
def headline(bench: Bench, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Sentences to print under the table: pytest-benchmark keeps extra_info out of the terminal."""
    said: list[str] = []
    yield said
    question = request.node.originalname.removeprefix("test_").replace("_", " ")
    HEADLINES.extend(f"{question:<40} {bench.design.name:<18} {text}" for text in said)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if HEADLINES:
        terminalreporter.section("what it means")
        cores = os.cpu_count()
        terminalreporter.line(f"{cores} cores, Python {platform.python_version()}; compare within this run only")
        for line in HEADLINES:
            terminalreporter.line(line)
