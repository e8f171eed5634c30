"""A contender on real servers: its workers, a gateway for them, and calls in its own environment."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from duetime import registry
from duetime.contenders import Contender
from duetime.harness.processes.gateway_process import GatewayProcess
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.interface import Design, Pending
from duetime.settings import Settings
from tests.commands import json_lines
from tests.designs.blocked_gateway import skip_unless_installed
from tests.eventually import assert_eventually

eventually = partial(assert_eventually, within_s=60.0)
"""A worker and a client of a contender take seconds to start, on a busy machine ten."""
CLIENT = Path(__file__).with_name("contender_steps.py")


@dataclass(frozen=True, slots=True)
class World:
    """One contender, default and tuned, on the servers of a test."""

    name: str
    settings: Settings
    engine: Engine
    tempdir: Path
    directory: Path

    def design(self, variant: str = "") -> Design:
        return registry.load(f"contender:{self.name}{variant}")

    @contextmanager
    def worker(self, variant: str = "", *, delivery: timedelta = timedelta()) -> Iterator[WorkerProcess]:
        """A ready worker, killed at the end. delivery: how long one takes; its line is written half-way."""
        with self.gateway(delivery) as environment, self.process(variant, environment=environment) as worker:
            yield worker

    @contextmanager
    def process(
        self, variant: str = "", *, role: int = 0, environment: Mapping[str, str] | None = None
    ) -> Iterator[WorkerProcess]:
        """A ready process of one of the design's roles, killed at the end."""
        name = f"worker-{len(list(self.directory.glob('*.log'))) + 1}"
        worker = WorkerProcess(
            name=name,
            role=self.design(variant).roles[role],
            settings=self.settings.for_worker(name),
            state=self.directory / name,
            log=self.directory / f"{name}.log",
            tempdir=self.tempdir,
            environment=environment,
            contender=self.design().contender,
        )
        try:
            worker.start()
            worker.wait_ready(time)
            yield worker
        finally:
            worker.end()

    @contextmanager
    def gateway(self, delivery: timedelta = timedelta()) -> Iterator[dict[str, str]]:
        """The variables of a gateway that takes `delivery` for each request."""
        settings = replace(self.settings, delivery_time=delivery)
        gateway = GatewayProcess(self.directory / "gateway.sock", settings, tempdir=self.tempdir)
        try:
            yield dict(gateway.environment)
        finally:
            gateway.end()
            (self.directory / "gateway.sock").unlink(missing_ok=True)

    def do(self, *steps: Sequence[Any], variant: str = "") -> None:
        """Carry out steps of ``contender_steps.py``."""
        lines = "".join(f"{json.dumps(step)}\n" for step in steps)
        self.python([str(CLIENT)], lines, DUETIME_DESIGN=self.design(variant).name)

    def schedule(self, key: str, revision: int = 1, *, due_at: datetime | None = None, variant: str = "") -> None:
        """Schedule a notification, by default a due one, in a transaction of its own."""
        due_at = due_at or datetime.now(UTC) - timedelta(seconds=1)
        self.do(["schedule", key, revision, due_at.isoformat()], ["commit"], variant=variant)

    def python(self, arguments: Sequence[str], stdin: str = "", **environment: str) -> str:
        """Run the contender's Python with the variables of its processes; return its output."""
        contender: Contender | None = self.design().contender
        assert contender
        settings = self.settings
        done = subprocess.run(
            [contender.python, *arguments],
            env={
                "PATH": os.environ["PATH"],
                **contender.environment(settings.database_url, settings.broker_url),
                **settings.environment(),
                **environment,
            },
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pending(self, variant: str = "") -> dict[str, Pending]:
        return {each.op: each for each in self.design(variant).pending(self.settings, self.engine)}

    def delivered(self) -> list[str]:
        file = self.settings.deliveries
        return [line["op"] for line in json_lines(file)] if file.exists() else []


def world_of(name: str, settings: Settings, engine: Engine, tempdir: Path, directory: Path) -> World:
    """Create the contender's tables, or skip the test if it is not installed."""
    skip_unless_installed(name)
    world = World(name, settings, engine, tempdir, directory)
    world.design().install(engine)
    return world


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)
