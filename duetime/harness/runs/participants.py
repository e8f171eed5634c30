"""The processes of one run: the workers of a design and the clients of its application."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from traceback import extract_tb
from uuid import uuid4

from sqlalchemy import create_engine, insert, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from duetime import registry
from duetime.app.tables import Base, Effect, User
from duetime.clock import instant
from duetime.errors import CannotBeListed, HarnessError
from duetime.faults.fault import Sleeper
from duetime.faults.mechanisms.faketime import SkewedClock
from duetime.faults.mechanisms.memory_group import MemoryGroup
from duetime.harness.plan.scenario import POLL_INTERVAL_S, REMINDER_LEAD_S
from duetime.harness.processes.client_process import ClientProcess
from duetime.harness.processes.gateway_process import GatewayProcess
from duetime.harness.processes.services import Endpoints
from duetime.harness.processes.supervisor import Supervisor
from duetime.harness.processes.worker_process import WorkerProcess
from duetime.harness.runs.fault_factory import FaultTargets
from duetime.harness.runs.fault_targets import TargetSelector
from duetime.harness.runs.run_directory import RunDirectory, Stored
from duetime.harness.runs.spec import RunSpec
from duetime.interface import MIGRATION_SEPARATOR
from duetime.migration import OLD
from duetime.runtime.gateway_faults import GATEWAY_FAULT_FILE
from duetime.runtime.jsonl import JsonLinesWriter
from duetime.settings import Settings

HEAD_START_S = 3.0
"""Of the workers before the clients, at most: some log their first line when they are ready."""


class RunProcesses:
    """Workers and clients of one run, not started yet.

    watched: whether the workers send events to a dashboard.
    """

    def __init__(self, files: RunDirectory, endpoints: Endpoints, *, watched: bool = False) -> None:
        self._spec = files.spec
        self._files = files
        self._endpoints = endpoints
        plan = self._spec.plan
        self._shards = [create_engine(url, poolclass=NullPool) for url in endpoints.shards(endpoints.database_url)]
        self.engine = self._shards[0]
        self._direct = settings_for(self._spec, files.deliveries, endpoints, watched=watched)
        # Workers and clients connect through the proxy where there is one.
        self._settings = replace(
            self._direct,
            database_url=endpoints.database_through,
            broker_url=endpoints.broker_through,
            services=endpoints.services_through,
        )
        self._shard_urls = endpoints.shards(endpoints.database_through)
        if len(self._shards) > 1:
            self._settings = replace(self._settings, shards=tuple(self._shard_urls))
        self._clocks = {name: SkewedClock(self._spec.state / f"{name}.clock") for name in plan.skewed_workers()}
        # From their start, because the kernel counts memory where it was taken first.
        self._memory = {
            name: MemoryGroup(f"{self._spec.context.tempdir.name}-{uuid4().hex}") for name in plan.limited_workers()
        }
        # Workers of contenders deliver over HTTP; ours write the line themselves.
        self._gateway = (
            GatewayProcess(self._spec.state / "gateway.sock", self._direct, tempdir=self._spec.context.tempdir)
            if self._spec.design.contender
            else None
        )
        self.workers = [self._worker(name) for name in self._worker_names()]
        self.clients: list[ClientProcess] = []
        self.supervisor = Supervisor(self.workers)
        self._targets = TargetSelector(self.workers, files.deliveries, over_http=self._gateway is not None)

    def install(self, users: Iterable[int]) -> None:
        """Create the application's tables, with these users, and the design's tables."""
        rows = [
            {"id": user, "name": f"user {user}", "address": f"{user}@example.org", "locale": "en"} for user in users
        ]
        for shard in self._shards:
            Base.metadata.create_all(shard)
            self._spec.design.install(shard)
            with shard.begin() as connection:
                connection.execute(insert(User), rows)

    def start(self, clients: int) -> None:
        """Begin to start the workers that the run begins with, and `clients` clients."""
        self.start_workers()
        self.start_clients(clients)

    def start_workers(self) -> None:
        for worker in self._initial_workers():
            worker.start()

    def wait_for_log_lines(self, stop: Sleeper) -> None:
        """Wait until each worker has logged a line or has ended, at most `HEAD_START_S`."""
        give_up_at = time.monotonic() + HEAD_START_S
        while any(worker.silent() for worker in self._initial_workers()) and time.monotonic() < give_up_at:
            stop.sleep(0.02)

    def start_clients(self, clients: int) -> None:
        killed = {fault.target for fault in self._spec.plan.faults if fault.kind == "client_kill"}
        for number in range(clients):
            self.clients.append(
                ClientProcess(
                    number,
                    [operation for operation in self._spec.plan.operations if operation.client == number],
                    # What a client changes, no other client changes: so it can have a shard.
                    settings=replace(self._settings, database_url=self._shard_urls[number % len(self._shard_urls)]),
                    history=self._files.history,
                    faults=self._files.faults,
                    old_heartbeats=[
                        self._heartbeat(worker.name) for worker in self.workers if self._is_old(worker.name)
                    ],
                    directory=self._spec.state / f"client-{number}",
                    log=self._files.logs / f"client-{number}.log",
                    tempdir=self._spec.context.tempdir,
                    contender=self._spec.design.contender,
                    fork_server=self._spec.context.fork_server,
                    standby=f"client-{number}" in killed,
                    pooled=self._endpoints.pooler is not None,
                )
            )

    def wait_ready(self, stop: Sleeper) -> None:
        """Wait until every process that was started is ready.

        Raises:
            HarnessError: a process ended instead or was not ready in time.
        """
        for worker in self._initial_workers():
            worker.wait_ready(stop)
        for client in self.clients:
            client.wait_ready(stop)

    def fault_targets(self) -> FaultTargets:
        return FaultTargets(
            selector=self._targets,
            endpoints=self._endpoints,
            workers={worker.name: worker for worker in self.workers},
            clocks=self._clocks,
            clients={client.name: client for client in self.clients},
            gateway_fault=self._files.deliveries.with_name(GATEWAY_FAULT_FILE),
            environment=self._spec.plan.environment,
            memory=self._memory,
        )

    def pending(self) -> Stored:
        """What the design's own store still holds."""
        try:
            return Stored([one for shard in self._shards for one in self._spec.design.pending(self._direct, shard)])
        except CannotBeListed as error:
            return Stored(None, str(error))
        except Exception as error:
            frames = extract_tb(error.__traceback__)
            where = next((frame for frame in reversed(frames) if "site-packages" not in frame.filename), frames[-1])
            raise HarnessError(
                f"pending() of {self._spec.design.name} failed: {type(error).__name__}: {error} "
                f"({where.filename}:{where.lineno})"
            ) from error

    def record_effects(self) -> None:
        """Append a delivery for each effect that a follow-up had inside the database."""
        read_at = instant()
        journal = JsonLinesWriter(self._files.deliveries)
        for shard in self._shards:
            with Session(shard) as session:
                effects = session.scalars(select(Effect).order_by(Effect.id)).all()
            for effect in effects:
                key, _, revision = effect.op.rpartition("/")
                at_ns = int(effect.at.timestamp() * 1e9) - read_at.wall_ns + read_at.mono_ns
                journal.append(
                    {
                        "op": effect.op,
                        "key": key,
                        "revision": int(revision),
                        "worker": effect.worker,
                        "attempt": 1,
                        "at_ns": at_ns,
                    }
                )
        journal.close()

    def alive(self) -> bool:
        """Return True if every worker that should be up is ready."""
        return all(worker.serving() for worker in self.workers if worker.wanted)

    def disorderly_exits(self) -> list[str]:
        """The workers that ended, when a fault asked them to, with a status that is not an orderly one."""
        return [exit_ for worker in self.workers for exit_ in worker.disorderly_exits]

    def kill(self) -> None:
        """End every process, whatever its state."""
        self.supervisor.stop()
        for client in self.clients:
            with suppress(OSError):
                client.stop()
        for worker in self.workers:
            with suppress(Exception):
                worker.end()
        for group in self._memory.values():
            with suppress(HarnessError):  # left to the process that cleans up
                group.remove()
        if self._gateway:
            self._gateway.end()

    def add_worker(self, name: str) -> None:
        """Add a worker called `name`, not started, unless there is one."""
        if name not in {worker.name for worker in self.workers}:
            self.workers.append(self._worker(name))

    def _initial_workers(self) -> list[WorkerProcess]:
        added = self._spec.plan.added_workers()
        return [worker for worker in self.workers if worker.name not in added]

    def _worker_names(self) -> list[str]:
        plan = self._spec.plan
        initial = [
            f"{role.name}-{number}"
            for role in self._spec.design.roles
            for number in range(1, (role.replicas or plan.workers) + 1)
        ]
        return [*initial, *plan.added_workers()]

    def _worker(self, name: str) -> WorkerProcess:
        role = next(role for role in self._spec.design.roles if role.name == name.rpartition("-")[0])
        settings = self._settings.for_worker(name)
        if self._is_old(name):
            settings = replace(settings, heartbeat=self._heartbeat(name))
        return WorkerProcess(
            name=name,
            role=role,
            settings=settings,
            state=self._spec.state / name,
            log=self._files.logs / f"{name}.log",
            tempdir=self._spec.context.tempdir,
            environment={
                **(self._clocks[name].environment() if name in self._clocks else {}),
                **(self._gateway.environment if self._gateway else {}),
            },
            contender=self._spec.design.contender_of(role.name),
            enter=self._endpoints.hosts.host(name).enter if self._endpoints.hosts else (),
            memory=self._memory.get(name),
        )

    def _is_old(self, worker: str) -> bool:
        return MIGRATION_SEPARATOR in self._spec.design.name and worker.startswith(OLD)

    def _heartbeat(self, worker: str) -> Path:
        return self._spec.state / f"{worker}.heartbeat"


def settings_for(spec: RunSpec, deliveries: Path, endpoints: Endpoints, *, watched: bool) -> Settings:
    plan = spec.plan
    return Settings(
        design=registry.absolute(spec.design_name),
        database_url=endpoints.database_url,
        broker_url=endpoints.broker_url,
        broker_primary=endpoints.broker_primary,
        worker="client",
        deliveries=deliveries,
        delivery_time=timedelta(seconds=plan.profile.delivery_time_s),
        reminder_lead=timedelta(seconds=REMINDER_LEAD_S * plan.slow),
        poll_interval=timedelta(seconds=POLL_INTERVAL_S * plan.slow),
        visibility_timeout=timedelta(seconds=plan.environment.visibility_timeout_s),
        rescue_after=timedelta(seconds=plan.environment.rescue_after_s),
        time_scale=plan.environment.time_scale,
        watched=watched,
        services=endpoints.services,
    )
