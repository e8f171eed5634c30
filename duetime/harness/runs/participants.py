"""Who plays in a run: the servers of a design, the clients of its application, and what may be hurt among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from sqlalchemy import create_engine, insert, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from duetime.app.tables import Base, Effect, User
from duetime.clock import instant
from duetime.faults.fault import Sleeper
from duetime.faults.mechanisms.faketime import SkewedClock
from duetime.harness.plan.plan import Plan
from duetime.harness.plan.scenario import POLL_INTERVAL_S, REMINDER_LEAD_S
from duetime.harness.processes.client_process import ClientProcess
from duetime.harness.processes.services import Endpoints
from duetime.harness.processes.supervisor import Supervisor
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.harness.runs.fault_factory import FaultTargets
from duetime.harness.runs.fault_targets import TargetSelector
from duetime.harness.runs.run_directory import RunDirectory
from duetime.interface import Design, Pending
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE
from duetime.runtime.jsonl import JsonLinesWriter
from duetime.settings import Settings


class RunProcesses:
    """The processes of one run of `design`, not started yet.

    design_name: how a process finds the design again: a registered name, or ``file.py:attribute``.
    own: the directory for their state. tempdir: of all runs. watched: whether the workers tell
    a dashboard what they do.
    """

    def __init__(
        self,
        design: Design,
        plan: Plan,
        files: RunDirectory,
        endpoints: Endpoints,
        *,
        design_name: str,
        own: Path,
        tempdir: Path,
        watched: bool = False,
    ) -> None:
        self._watched = watched
        self.engine = create_engine(endpoints.database_url, poolclass=NullPool)
        self._design = design
        self._plan = plan
        self._files = files
        self._own = own
        self._tempdir = tempdir
        plain = self._settings_at(design_name, endpoints.database_url, endpoints.broker_url)
        self._plain = plain
        self._settings = self._settings_at(design_name, endpoints.database_through, endpoints.broker_through)
        self._clocks = {target: SkewedClock(own / f"{target}.clock") for target in plan.skewed_workers()}
        self.workers = [self._worker(name) for name in self._names()]
        self.clients: list[ClientProcess] = []
        self.supervisor = Supervisor(self.workers)
        delivery_time = timedelta(seconds=plan.profile.delivery_time_s)
        self._endpoints = endpoints
        self._targets = TargetSelector(self.workers, files.deliveries, delivery_time=delivery_time)

    def install(self, users: Iterable[int]) -> None:
        """Create the application's tables with these users in them, and the design's own."""
        Base.metadata.create_all(self.engine)
        self._design.install(self.engine)
        rows = [
            {"id": user, "name": f"user {user}", "address": f"{user}@example.org", "locale": "en"} for user in users
        ]
        with self.engine.begin() as connection:
            connection.execute(insert(User), rows)

    def start(self, clients: int) -> None:
        """Begin to start the servers that are there from the beginning, and this many clients."""
        for worker in self._first():
            worker.start()
        for number in range(clients):
            self.clients.append(
                ClientProcess(
                    number,
                    [operation for operation in self._plan.operations if operation.client == number],
                    settings=self._settings,
                    history=self._files.path / "history.jsonl",
                    log=self._files.path / "logs" / f"client-{number}.log",
                    tempdir=self._tempdir,
                )
            )

    def wait_ready(self, stop: Sleeper) -> None:
        """Wait until all that were started serve.

        Raises:
            HarnessError: one ended instead, or did not get there in time.
        """
        for worker in self._first():
            worker.wait_ready(stop)
        for client in self.clients:
            client.wait_ready(stop)

    def fault_targets(self) -> FaultTargets:
        return FaultTargets(
            targets=self._targets,
            endpoints=self._endpoints,
            workers={worker.name: worker for worker in self.workers},
            clocks=self._clocks,
            clients={client.name: client for client in self.clients},
            gateway_fault=self._files.deliveries.with_name(GATEWAY_FAULT_FILE),
        )

    def pending(self) -> Sequence[Pending]:
        """What the design's own store still holds."""
        return self._design.pending(self._plain, self.engine)

    def record_effects(self) -> None:
        """Write down beside the deliveries what was done inside the database: what it shows was done, each time."""
        read_at = instant()
        journal = JsonLinesWriter(self._files.deliveries)
        with Session(self.engine) as session:
            for effect in session.scalars(select(Effect).order_by(Effect.id)):
                key, _, revision = effect.op.rpartition("/")
                at_ns = int(effect.at.timestamp() * 1e9) - read_at.wall_ns + read_at.mono_ns
                told = {"op": effect.op, "key": key, "revision": int(revision), "worker": effect.worker}
                journal.append({**told, "attempt": 1, "at_ns": at_ns})
        journal.close()

    def alive(self) -> bool:
        """Whether every server serves that is meant to be up."""
        return all(worker.serving() for worker in self.workers if worker.wanted)

    def kill(self) -> None:
        """End everybody, in whatever state."""
        self.supervisor.stop()
        for client in self.clients:
            with suppress(OSError):
                client.stop()
        for worker in self.workers:
            with suppress(Exception):
                worker.end()

    def engage(self, name: str) -> None:
        """Have a server called `name` that may be started, unless there is one."""
        if name not in {worker.name for worker in self.workers}:
            self.workers.append(self._worker(name))

    def _first(self) -> list[WorkerProcess]:
        added = self._plan.added_workers()
        return [worker for worker in self.workers if worker.name not in added]

    def _names(self) -> list[str]:
        there = [
            f"{role.name}-{number}"
            for role in self._design.roles
            for number in range(1, (role.replicas or self._plan.workers) + 1)
        ]
        return [*there, *self._plan.added_workers()]

    def _worker(self, name: str) -> WorkerProcess:
        role = next(role for role in self._design.roles if role.name == name.rpartition("-")[0])
        return WorkerProcess(
            name=name,
            role=role,
            settings=self._settings.for_worker(name),
            state=self._own / name,
            log=self._files.path / "logs" / f"{name}.log",
            tempdir=self._tempdir,
            environment=self._clocks[name].environment() if name in self._clocks else {},
        )

    def _settings_at(self, design_name: str, database_url: str, broker_url: str) -> Settings:
        return Settings(
            design=design_name,
            database_url=database_url,
            broker_url=broker_url,
            worker="client",
            deliveries=self._files.deliveries,
            delivery_time=timedelta(seconds=self._plan.profile.delivery_time_s),
            reminder_lead=timedelta(seconds=REMINDER_LEAD_S),
            poll_interval=timedelta(seconds=POLL_INTERVAL_S),
            visibility_timeout=timedelta(seconds=self._plan.environment.visibility_timeout_s),
            rescue_after=timedelta(seconds=self._plan.environment.rescue_after_s),
            time_scale=self._plan.environment.time_scale,
            watched=self._watched,
        )
