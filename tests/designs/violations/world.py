"""A small world in which a violation happens in every run: real stores, real processes and failpoints."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.clock import system_clock
from duetime.harness.processes.environment import composed_for_design
from duetime.harness.processes.gateway_process import GatewayProcess
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.interface import Design, Notification, Scheduler
from duetime.runtime.failpoints import VARIABLE, Failpoint, disarm
from duetime.settings import Settings

CLIENT = """
import sys
from datetime import timedelta
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from duetime import registry
from duetime.clock import system_clock
from duetime.runtime.failpoints import Failpoints
from duetime.interface import Notification
from duetime.settings import Settings

settings = Settings.from_environment()
scheduler = registry.load(settings.design).scheduler(settings)
Failpoints().watch()
for key in sys.argv[2:]:
    with Session(create_engine(settings.database_url)) as session:
        due_at = system_clock() + timedelta(seconds=float(sys.argv[1]))
        note = Notification(key=key, revision=1, kind="test", recipient="a@b.example", due_at=due_at)
        scheduler.schedule(note, session=session)
        session.commit()
"""
"""A client that schedules one notification for each of its arguments, each in its own transaction."""


class World:
    """One design, its stores, and the processes that a test starts.

    tempdir: the temporary directory of all runs. directory: the test's own. http: a contender's workers deliver to a
    gateway in a process of its own.
    """

    def __init__(
        self, design: Design, settings: Settings, engine: Engine, tempdir: Path, directory: Path, *, http: bool = False
    ) -> None:
        self.design = design
        self.settings = replace(settings, design=design.name)
        self.engine = engine
        self.failpoint = directory / "failpoint"
        self._tempdir = tempdir
        self._directory = directory
        self._gateway = GatewayProcess(directory / "gateway.sock", self.settings, tempdir=tempdir) if http else None
        design.install(engine)

    @cached_property
    def scheduler(self) -> Scheduler:
        return self.design.scheduler(self.settings)

    def close(self) -> None:
        if self._gateway:
            self._gateway.end()

    def arm(self, failpoint: Failpoint) -> None:
        failpoint.arm(self.failpoint)

    def disarm(self) -> None:
        disarm(self.failpoint)

    def schedule(self, *keys: str, in_s: float = 0.0) -> None:
        """Schedule revision 1 of `keys` from this process."""
        notes = [
            Notification(
                key=key,
                revision=1,
                kind="test",
                recipient="a@b.example",
                due_at=system_clock() + timedelta(seconds=in_s),
            )
            for key in keys
        ]
        with Session(self.engine) as session:
            self.scheduler.schedule_many(notes, session=session)
            session.commit()

    def cancel(self, key: str) -> None:
        with Session(self.engine) as session:
            self.scheduler.cancel(key, revision=2, session=session)
            session.commit()

    def schedule_from_client(self, *keys: str, in_s: float = 0.0) -> int:
        """Schedule `keys` from a client process, which a failpoint may kill; return its exit status."""
        contender = self.design.contender
        command = [contender.python if contender else sys.executable, "-c", CLIENT, str(in_s), *keys]
        return subprocess.run(command, env=self._environment(), start_new_session=True, check=False).returncode

    @contextmanager
    def worker(
        self, name: str = "worker-1", *, wait_ready: bool = True, environment: Mapping[str, str] | None = None
    ) -> Iterator[WorkerProcess]:
        """Run one worker of the design."""
        worker = WorkerProcess(
            name=name,
            role=self.design.roles[0],
            settings=self.settings.for_worker(name),
            state=self._directory / f"{name}-{time.monotonic_ns()}",
            log=self._directory / f"{name}.log",
            tempdir=self._tempdir,
            environment={
                VARIABLE: str(self.failpoint),
                **(self._gateway.environment if self._gateway else {}),
                **(environment or {}),
            },
            contender=self.design.contender,
        )
        worker.start()
        try:
            if wait_ready:
                worker.wait_ready(PlainSleeper())
            yield worker
        finally:
            worker.end()

    def delivered(self) -> Counter[str]:
        """Return how often each key was delivered."""
        if not self.settings.deliveries.exists():
            return Counter()
        return Counter(json.loads(line)["key"] for line in self.settings.deliveries.read_text().splitlines())

    def pending(self) -> dict[str, str]:
        """Return the place of each pending revision."""
        return {pending.op: pending.where for pending in self.design.pending(self.settings, self.engine)}

    def _environment(self) -> dict[str, str]:
        settings, contender = self.settings, self.design.contender
        return {
            **composed_for_design(),
            **settings.environment(),
            **(contender.environment(settings.database_url, settings.broker_url) if contender else {}),
            VARIABLE: str(self.failpoint),
        }


class PlainSleeper:
    """A ``Sleeper`` that cannot be cancelled."""

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


MakeWorld = Callable[..., World]
KILLED = -signal.SIGKILL
"""The exit status of a process that a failpoint killed."""
