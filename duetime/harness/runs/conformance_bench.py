"""The servers on which the promises of one design are tested, and its runs in scenarios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from duetime.app.tables import Base
from duetime.conformance import Conformance
from duetime.errors import BadUsage
from duetime.harness.plan.scenario import Scenario
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.fork_server import fork_server
from duetime.harness.processes.services import ServiceRequirements, Services
from duetime.harness.runs.batch import Progress
from duetime.harness.runs.cell import Cell
from duetime.harness.runs.compare import run_side_by_side
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.spec import RunSpec
from duetime.interface import Design
from duetime.settings import Settings

AT_ONCE = 3
"""Scenarios at the same time, as many as `duetime compare` runs designs by default."""


@dataclass(frozen=True, slots=True)
class ConformanceBench:
    """A design, and servers for its tests. name: by which a process loads the design again."""

    name: str
    design: Design
    context: RunContext

    @contextmanager
    def conformance(self) -> Iterator[Conformance]:
        """The tests of the design's promises, on a database and a broker that are removed afterwards.

        Raises:
            BadUsage: its ``install`` or its ``scheduler`` raises an error.
        """
        requirements = ServiceRequirements(services=self.design.services)
        with self.context.services.for_run("conformance", 0, requirements) as endpoints:
            engine = create_engine(endpoints.database_url, poolclass=NullPool)
            settings = Settings(
                design=self.name,
                database_url=endpoints.database_url,
                broker_url=endpoints.broker_url,
                worker="client-0",
                deliveries=self.context.tempdir / "conformance.jsonl",
                delivery_time=timedelta(),
                reminder_lead=timedelta(seconds=10),
                poll_interval=timedelta(seconds=1),
                services=endpoints.services,
            )
            Base.metadata.create_all(engine)
            with _naming(self.name, "install()"):
                self.design.install(engine)
            with _naming(self.name, "scheduler()"):
                conformance = Conformance(self.design, settings, engine)
            yield conformance

    def run(
        self, scenarios: Sequence[Scenario], seed: int, out: Path, progress: Progress = lambda *_: None
    ) -> Iterator[Cell]:
        """Run the design in `scenarios`, some at a time, and judge it. out: the run directories are made below it."""
        for first in range(0, len(scenarios), AT_ONCE):
            specs = [
                RunSpec(
                    design=self.design,
                    design_name=self.name,
                    plan=scenario.plan(seed),
                    directory=out / scenario.name / f"{self.design.name.replace(':', '-')}-seed{seed}",
                    slot=slot,
                    context=self.context,
                )
                for slot, scenario in enumerate(scenarios[first : first + AT_ONCE])
            ]
            yield from run_side_by_side(specs, progress)


@contextmanager
def _naming(design: str, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise BadUsage(f"{design}: {what} raised {type(error).__name__}: {error}") from error


@contextmanager
def conformance_bench(name: str, design: Design) -> Iterator[ConformanceBench]:
    """Start what the tests of `design` need, and end it.

    Raises:
        BadUsage: the design is a contender, which needs an environment of its own.
        ServiceUnavailable: a server of the user's own does not answer.
    """
    if design.contender and design.contender.has_own_python:
        raise BadUsage(f"{name} runs in an environment of its own; write duetime compare --designs {name}")
    with run_tempdir() as tempdir, fork_server(tempdir) as clients:
        services = Services(tempdir)
        versions = services.prepare(side_by_side=AT_ONCE)
        yield ConformanceBench(name, design, RunContext(tempdir, services, versions, CancelToken(), clients))
