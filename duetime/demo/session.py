"""A long-running session: several designs under the same load, with faults injected from the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path

from duetime.clock import Instant
from duetime.demo.active_faults import KINDS, ActionRejected, ActiveFault, ActiveFaults
from duetime.demo.design_run import USERS, DesignRun, prepared_run
from duetime.demo.traffic import Traffic
from duetime.faults.fault import FAULT_KINDS, FaultKind
from duetime.harness.plan.plan import Environment, Plan, PlannedOperation, Profile
from duetime.harness.plan.scenario import LATENESS_LIMIT_S
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.spec import RunSpec
from duetime.harness.runs.start_barrier import StartBarrier
from duetime.interface import Design

SCENARIO = "demo"
Dashboard = Callable[[str, int], AbstractContextManager[str]]


class DemoSession:
    """Designs on one database server and one broker; use as a context manager.

    Every method may be called from any thread.
    """

    def __init__(
        self,
        designs: Mapping[str, Design],
        *,
        context: RunContext,
        out: Path,
        per_second: float = 0.0,
        workers: int = 1,
        seed: int = 1,
        delivery_time_s: float = 0.04,
        dashboard: Dashboard = lambda _broker_url, _start: nullcontext(""),
    ) -> None:
        """out: directory of the runs. per_second: generated notifications. delivery_time_s: of the gateway, for one.

        dashboard: starts Flower on the broker at a URL, for the start with a number, and gives its own URL.
        """
        self.runs: dict[str, DesignRun] = {}
        self.context = context
        self.started: Instant | None = None
        self.starts = 0
        """How many times the designs were started: again after the machine has slept."""
        self.dashboard_url = ""
        self.traffic = Traffic(
            per_second, seed=f"{SCENARIO}:{seed}", now_s=self.now_s, schedule=lambda in_s: self.schedule(in_s=in_s)
        )
        self._workers = workers
        self._faults = ActiveFaults(self.runs, workers=workers, now_s=self.now_s)
        self._dashboard = dashboard
        self._resources = ExitStack()
        self.designs = designs
        self._out = out
        self._event_numbers = count(1)
        self._operations: list[PlannedOperation] = []
        self._due_s: dict[int, float] = {}
        """Events whose reminders are not due yet."""
        self._client_error = ""
        self._lock = threading.RLock()
        self._exclusive = threading.Lock()
        """Held while the session is saved, or its designs are started again."""
        self._busy = ""
        """Why no action is possible at this moment."""
        self._plan = _empty_plan(workers=workers, seed=seed, delivery_time_s=delivery_time_s)

    @property
    def profile(self) -> Profile:
        return self._plan.profile

    @property
    def error(self) -> str:
        """The last error that concerns the session; empty if there is none."""
        return self._faults.error or self._client_error

    def now_s(self) -> float:
        """Seconds since the start."""
        return 0.0 if self.started is None else (time.monotonic_ns() - self.started.mono_ns) / 1e9

    # Start and stop

    @contextmanager
    def running(self) -> Iterator[DemoSession]:
        """Start everything, and end it afterwards.

        Raises:
            DuetimeError: something did not start.
        """
        with ExitStack() as stack:
            stack.callback(self._end_runs)
            self._start_runs()
            self.traffic.start()
            stack.callback(self.traffic.stop)
            # The first step of the end: it interrupts waits in other threads.
            stack.callback(self.context.stop.set)
            yield self

    def restart(self) -> None:
        """End every process and start the designs again, with empty databases and new run directories.

        Raises:
            DuetimeError: something did not start.
        """
        with self._exclusive, self.traffic_paused(), self._rejecting("the designs are being started again"):
            self._end_runs()
            self._start_runs()

    def _start_runs(self) -> None:
        stop = self.context.stop
        with ExitStack() as stack:
            endpoints = stack.enter_context(self.context.services.for_run(SCENARIO, 0))
            for number, (name, design) in enumerate(self.designs.items()):
                spec = RunSpec(
                    design=design,
                    design_name=name,
                    plan=self._plan,
                    directory=self._out / str(self.starts) / directory_of(design, self._plan.seed),
                    slot=self.starts * len(self.designs) + number,
                    context=self.context,
                )
                self.runs[name] = stack.enter_context(prepared_run(spec, endpoints))
            for run in self.runs.values():
                run.processes.wait_ready(stop)
            self.started = StartBarrier(1, stop).wait()
            for run in self.runs.values():
                run.begin(self.started)
                stack.callback(run.end)
            stop.sleep_until(self.started.mono_ns)
            self.dashboard_url = stack.enter_context(self._dashboard(endpoints.broker_url, self.starts))
            self.starts += 1
            self._resources = stack.pop_all()

    def _end_runs(self) -> None:
        self._resources.close()
        self.runs.clear()
        self.started, self._client_error = None, ""
        self._faults = ActiveFaults(self.runs, workers=self._workers, now_s=self.now_s)
        self._operations, self._due_s = [], {}

    # What users do

    def upcoming(self) -> list[tuple[float, int]]:
        """Due time in seconds after the start, and event, of everything that is not due yet; the next first."""
        now_s = self.now_s()
        with self._lock:
            return sorted((due_s, event) for event, due_s in self._due_s.items() if due_s >= now_s)

    def schedule(self, *, in_s: float, people: int = 1) -> int:
        """Create one event whose reminders fall due `in_s` seconds from now; return its number."""
        with self._lock:
            self._reject_while_busy()
            now_s = self.now_s()
            event = next(self._event_numbers)
            users = tuple((event * 7 + guest) % USERS + 1 for guest in range(people))
            due_s = round(now_s + in_s, 6)
            self._send(
                PlannedOperation(
                    at_s=round(now_s, 3), client=0, do="create_event", event=event, users=users, due_s=due_s
                )
            )
            self._due_s = {other: other_s for other, other_s in self._due_s.items() if other_s >= now_s}
            self._due_s[event] = due_s
        return event

    def move(self, event: int, *, by_s: float) -> None:
        """Move an event to a later time.

        Raises:
            ActionRejected: the event is not upcoming.
        """
        with self._lock:
            self._reject_while_busy()
            due_s = round(self._due_of(event) + by_s, 6)
            at_s = round(self.now_s(), 3)
            self._send(PlannedOperation(at_s=at_s, client=0, do="move_event", event=event, due_s=due_s))
            self._due_s[event] = due_s

    def cancel(self, event: int) -> None:
        """Cancel an event.

        Raises:
            ActionRejected: the event is not upcoming.
        """
        with self._lock:
            self._reject_while_busy()
            self._due_of(event)
            del self._due_s[event]
            self._send(PlannedOperation(at_s=round(self.now_s(), 3), client=0, do="cancel_event", event=event))

    def _due_of(self, event: int) -> float:
        due_s = self._due_s.get(event)
        if due_s is None or due_s < self.now_s():
            raise ActionRejected(f"event {event} is not upcoming: its reminder was due, or it was cancelled")
        return due_s

    def _send(self, operation: PlannedOperation) -> None:
        self._operations.append(operation)
        for run in self.runs.values():
            try:
                run.processes.clients[0].carry_out(operation)
            except OSError as error:
                self._client_error = f"the client process of {run.name} has ended: {error}"

    def traffic_paused(self) -> AbstractContextManager[None]:
        """Pause the generated traffic meanwhile."""
        return self.traffic.paused()

    # Faults

    @property
    def active_faults(self) -> list[ActiveFault]:
        """The faults that are not healed yet."""
        return self._faults.unhealed()

    def inject_fault(self, kind: FaultKind, target: str) -> str:
        """Inject a fault into all designs; return its name, by which it is healed.

        Raises:
            ActionRejected: it makes no sense in the present state, or no design was affected.
        """
        with self._lock:
            self._reject_while_busy()
            active = self._faults.begin(kind, target)
        return self._faults.inject(active)

    def heal_fault(self, name: str) -> None:
        """Heal an active fault in all designs, and wait until it is healed.

        Raises:
            ActionRejected: no active fault has this name.
        """
        self._faults.heal(name)

    def heal_all(self) -> None:
        """Heal every active fault, the latest first."""
        self._faults.heal_all()

    def wait_until_faults_settled(self, *, within_s: float) -> None:
        """Wait until no fault is being injected or healed."""
        self._faults.wait_until_settled(self.context.stop, within_s=within_s)

    def unaffected(self, faults: Collection[str]) -> set[str]:
        """The designs in which one of the named `faults` did not happen."""
        return self._faults.unaffected(faults)

    def next_worker_name(self) -> str:
        """The name of the next worker that can be added."""
        return self._faults.next_worker_name()

    def worker_states(self, design: str) -> list[Mapping[str, str]]:
        """Name and state of each worker of `design`, without workers that were removed."""
        return self.runs[design].worker_states(self._faults.removed_workers())

    # Saving

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Pause the traffic and reject every action meanwhile, except healing.

        Raises:
            ActionRejected: the session is being saved already, or the designs are being started again.
        """
        if not self._exclusive.acquire(blocking=False):
            raise ActionRejected(f"{self._busy}; try again when that is done")
        try:
            with self.traffic_paused(), self._rejecting("the session is being saved"):
                yield
        finally:
            self._exclusive.release()

    @contextmanager
    def _rejecting(self, why: str) -> Iterator[None]:
        with self._lock:
            self._busy = why
        try:
            yield
        finally:
            self._busy = ""

    def plan(self) -> Plan:
        """Everything done so far, as a plan that can be run again."""
        with self._lock:
            return replace(
                self._plan,
                operations=tuple(self._operations),
                faults=tuple(fault.planned for fault in self._faults.all),
            )

    def _reject_while_busy(self) -> None:
        if self._busy:
            raise ActionRejected(f"{self._busy}; try again when that is done")


def directory_of(design: Design, seed: int) -> str:
    return f"{design.name.replace(':', '-')}-seed{seed}"


def _empty_plan(*, workers: int, seed: int, delivery_time_s: float) -> Plan:
    return Plan(
        scenario=SCENARIO,
        seed=seed,
        workers=workers,
        profile=Profile(
            lateness_limit_s=LATENESS_LIMIT_S,
            delivery_time_s=delivery_time_s,
            recovery_budget_s={kind: FAULT_KINDS[kind].recovery_budget_s for kind in KINDS},
            non_excusing_faults=tuple(kind for kind in KINDS if not FAULT_KINDS[kind].excuses),
        ),
        environment=Environment(),
        required_faults=(),
        operations=(),
        faults=(),
    )
