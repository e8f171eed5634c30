"""One entrant of the league on servers of its own: its workers, calls in its own interpreter, and a fast gateway."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import psutil
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from duetime import registry
from duetime.app.tables import Base
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.cleanup import owner_env
from duetime.harness.processes.environment import composed, composed_for_design
from duetime.harness.processes.services import Endpoints, ServiceRequirements, Services
from duetime.harness.processes.worker_process import WorkerProcess, stop_all
from duetime.interface import Design, Role
from duetime.runtime.gateway import DELIVER_TO
from duetime.settings import Settings

CLIENT = Path(__file__).with_name("league_client.py")
LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class Arrival:
    """A delivery, when it reached the gateway."""

    op: str
    at_ns: int


@dataclass
class Stand:
    """Where one entrant is measured. Each figure uses keys of its own."""

    design: Design
    settings: Settings
    engine: Engine
    tempdir: Path
    directory: Path
    gateway: Mapping[str, str]
    arrivals_file: Path
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def schedule(
        self, number: int, *, due_in_s: float, step_s: float = 0.0, size: int, prefix: str
    ) -> tuple[float, float]:
        """Schedule in the entrant's interpreter, `size` in a transaction; return the seconds and the first due time."""
        contender = self.design.contender
        environment = {
            **composed_for_design(),
            **self.settings.environment(),
            **owner_env(self.tempdir),
            **(contender.environment(self.settings.database_url, self.settings.broker_url) if contender else {}),
        }
        arguments = [str(number), str(due_in_s), str(step_s), str(size), prefix]
        python = contender.python if contender else sys.executable
        done = subprocess.run(
            [python, str(CLIENT), *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{self.design.name}: {done.stderr[-2000:]}"
        printed = json.loads(done.stdout.splitlines()[-1])
        return float(printed["took_s"]), float(printed["first_due"])

    @contextmanager
    def workers(self, number: int = 1, *, ready: bool = True) -> Iterator[list[WorkerProcess]]:
        """Run `number` workers, and each other role as often as it says. Yields the workers."""
        processes = [self._worker(role) for role in self.design.roles for _ in range(role.replicas or number)]
        for process in processes:
            process.start()
        try:
            for process in processes if ready else ():
                process.wait_ready(CancelToken())
            yield processes
        finally:
            stop_all(processes, within_s=10)

    def arrivals(self, prefix: str) -> list[Arrival]:
        """The deliveries so far of keys with this prefix, in the order of their arrival."""
        found = [json.loads(line) for line in self.arrivals_file.read_bytes().splitlines()]
        return [Arrival(each["op"], each["at_ns"]) for each in found if each["op"].startswith(prefix)]

    def wait_for(self, number: int, prefix: str, *, within_s: float) -> list[Arrival]:
        """Wait until that many different ones have arrived, at most `within_s`; return all that have."""
        give_up_at = time.monotonic() + within_s
        while True:
            found = self.arrivals(prefix)
            if len({each.op for each in found}) >= number or time.monotonic() > give_up_at:
                return found
            time.sleep(LOOK_EVERY_S)

    def _worker(self, role: Role) -> WorkerProcess:
        name = f"{role.name}-{next(self._numbers)}"
        return WorkerProcess(
            name=name,
            role=role,
            settings=self.settings.for_worker(name),
            state=self.directory / name,
            log=self.directory / f"{name}.log",
            tempdir=self.tempdir,
            environment=self.gateway,
            contender=self.design.contender,
        )


def memory_mb(workers: Sequence[WorkerProcess]) -> float:
    """The memory of all their processes, where shared pages count in parts."""
    return sum(psutil.Process(pid).memory_full_info().pss for worker in workers for pid in worker.pids()) / 1e6


@contextmanager
def stand(name: str, settings: Settings, services: Services, tempdir: Path, directory: Path) -> Iterator[Stand]:
    """Put the design `name` on servers of its own, with its tables."""
    design = registry.load(name)
    directory.mkdir(parents=True)
    needs = ServiceRequirements(database_by_tcp=design.contender is not None, services=design.services)
    arrivals = directory / "arrivals.jsonl"
    arrivals.touch()
    with services.for_run(directory.name, 0, needs) as endpoints, _gateway(arrivals, tempdir) as gateway:
        engine = create_engine(endpoints.database_url, poolclass=NullPool)
        Base.metadata.create_all(engine)
        design.install(engine)
        yield Stand(
            design, _settings(settings, design, endpoints, directory), engine, tempdir, directory, gateway, arrivals
        )


def _settings(settings: Settings, design: Design, endpoints: Endpoints, directory: Path) -> Settings:
    return replace(
        settings,
        design=design.name,
        database_url=endpoints.database_url,
        broker_url=endpoints.broker_url,
        services=endpoints.services,
        deliveries=directory / "local.jsonl",
    )


@contextmanager
def _gateway(arrivals: Path, tempdir: Path) -> Iterator[Mapping[str, str]]:
    command = [sys.executable, "-P", "-m", "benchmarks.league_gateway", str(arrivals)]
    root = str(Path(__file__).parent.parent)
    environment = {**composed(), **owner_env(tempdir), "PYTHONPATH": root}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        try:
            yield dict.fromkeys(("DUETIME_GATEWAY_URL", DELIVER_TO), f"http://127.0.0.1:{port}/deliver")
        finally:
            process.kill()
