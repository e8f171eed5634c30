"""One design of a demo session, recorded like any other run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise

from duetime.clock import Instant
from duetime.contenders import filled
from duetime.faults.fault import Fault, Sleeper
from duetime.harness.plan.plan import PlannedFault
from duetime.harness.processes.external_services import own_database
from duetime.harness.processes.services import Endpoints
from duetime.harness.processes.worker_process import WorkerProcess, stop_all
from duetime.harness.runs.canary import CanarySender
from duetime.harness.runs.fault_factory import make_fault
from duetime.harness.runs.nemesis import Nemesis
from duetime.harness.runs.participants import RunProcesses
from duetime.harness.runs.run_directory import RunDirectory
from duetime.harness.runs.spec import RunSpec
from duetime.runtime.gateway import JournalGateway

SETTLED_WITHIN_S = 30.0
STOP_WITHIN_S = 3.0
USERS = 500


class DesignRun:
    """The processes, the run directory and the nemesis of one design.

    name: how the design was loaded.
    """

    def __init__(self, processes: RunProcesses, files: RunDirectory, gateway: JournalGateway) -> None:
        self.name = files.spec.design_name
        self.processes = processes
        self.files = files
        self.nemesis: Nemesis
        self._gateway = gateway
        self._stopped: list[WorkerProcess] = []
        self._canaries: CanarySender

    def begin(self, started: Instant) -> None:
        spec = self.files.spec
        self.files.write_plan(started)
        self.files.record_database_clock()
        self._canaries = CanarySender(self._gateway, self.files.clock, period_s=spec.plan.profile.canary_period_s)
        self._canaries.start(started)
        for client in self.processes.clients:
            client.begin(started, more_to_come=True)
        self.processes.supervisor.start()
        settled = partial(self.processes.supervisor.wait_settled, spec.context.stop, within_s=SETTLED_WITHIN_S)
        self.nemesis = Nemesis(self.make_fault, settled, self.files.faults, spec.context.stop)

    def make_fault(self, planned: PlannedFault) -> Fault:
        return make_fault(planned, self.processes.fault_targets())

    def end(self) -> None:
        self._canaries.stop()
        self.nemesis.close()

    def stop_workers(self) -> list[str]:
        """Stop every worker that is up; return the names of those that did not end in an orderly way."""
        self._stopped = [worker for worker in self.processes.workers if worker.wanted]
        return stop_all(self.processes.workers, within_s=STOP_WITHIN_S)

    def start_workers(self, stop: Sleeper) -> None:
        """Start the workers that `stop_workers` stopped.

        Raises:
            HarnessError: one of them was not ready in time.
        """
        for worker in self._stopped:
            worker.start()
        for worker in self._stopped:
            worker.wait_ready(stop)

    def worker_states(self, removed: Collection[str]) -> list[Mapping[str, str]]:
        """Name, state and Celery's name of each worker; not of those that were `removed`."""
        return [
            {"name": worker.name, "state": worker.state, "node": self._node(worker.name)}
            for worker in self.processes.workers
            if worker.wanted or worker.name not in removed
        ]

    def _node(self, worker: str) -> str:
        """The name under which Celery and Flower know a worker; empty if it is none of Celery's."""
        role = next(role for role in self.files.spec.design.roles if role.name == worker.rpartition("-")[0])
        names = [after for option, after in pairwise(role.argv) if option == "-n" and "celery" in role.argv]
        return filled(names[0], {"worker": worker}) if names else ""


@contextmanager
def prepared_run(spec: RunSpec, endpoints: Endpoints) -> Iterator[DesignRun]:
    """A run with a database of its own whose processes are starting; all of it ends afterwards."""
    files = RunDirectory(spec)
    files.make()
    files.write_plan()
    files.record_phases()
    with ExitStack() as stack:
        url = stack.enter_context(own_database(endpoints.database_url))
        processes = RunProcesses(files, replace(endpoints, database_url=url, database_through=url), watched=True)
        stack.callback(processes.kill)
        processes.install(range(1, USERS + 1))
        processes.start(clients=1)
        gateway = JournalGateway(files.deliveries, worker="canary", delivery_time=timedelta())
        stack.callback(gateway.close)
        yield DesignRun(processes, files, gateway)
