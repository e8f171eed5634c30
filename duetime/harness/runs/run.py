"""One design goes through one plan; what happened is in the run directory afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from math import inf
from pathlib import Path

from duetime.clock import Instant
from duetime.harness.plan.plan import Plan
from duetime.harness.plan.workload import CLIENTS
from duetime.harness.processes.services import ServiceRequirements
from duetime.harness.processes.worker_process import stop_all
from duetime.harness.runs.canary import CanarySender
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.fault_factory import maker
from duetime.harness.runs.nemesis import Nemesis
from duetime.harness.runs.participants import RunProcesses
from duetime.harness.runs.run_directory import OutstandingOperations, RunDirectory
from duetime.interface import Design, Pending
from duetime.runtime.gateway import JournalGateway

STOP_WITHIN_S = 3.0
SETTLED_WITHIN_S = 30.0
LOOK_EVERY_NS = 500_000_000
QUIET_WITHIN_S = 10.0
"""A design that is still delivering then has no end of it; what it delivered is judged as it is."""

Progress = Callable[[str], None]


class Run:
    """One design, one plan, one directory.

    design_name: how a client process finds the design again: a registered name, or ``file.py:attribute``.
    slot: the number of this run among those that go on beside it.
    """

    def __init__(
        self,
        design: Design,
        plan: Plan,
        directory: Path,
        *,
        design_name: str,
        context: RunContext,
        slot: int,
        progress: Progress = lambda _phase: None,
    ) -> None:
        self.directory = directory
        self._design = design
        self._design_name = design_name
        self._plan = plan
        self._context = context
        self._stop = context.stop
        self._slot = slot
        self._progress = progress
        self._files = RunDirectory(directory, design, context.versions, loaded_as=design_name)

    def carry_out(self, agree_on_start: Callable[[], Instant]) -> None:
        """Prepare, wait for `agree_on_start` to say when, go through the plan, close.

        Raises:
            DuetimeError: the run could not be carried out; its directory holds what there was, unclosed.
        """
        self._files.make()
        self._files.write_plan(self._plan)
        name = f"{self._plan.scenario}-{self._slot}-{self._plan.seed}"
        with ExitStack() as stack:
            self._progress("starting servers")
            requirements = ServiceRequirements(
                broker_persistence=self._plan.environment.broker_persistence,
                links=self._plan.proxied_services(),
                broker_isolated=self._plan.needs_isolated_broker(),
            )
            cast = RunProcesses(
                self._design,
                self._plan,
                self._files,
                stack.enter_context(self._context.services.for_run(name, self._slot, requirements)),
                design_name=self._design_name,
                own=self._context.tempdir / name,
                tempdir=self._context.tempdir,
            )
            cast.install(sorted({user for operation in self._plan.operations for user in operation.users}))
            stack.callback(cast.kill)
            cast.start(CLIENTS)
            cast.wait_ready(self._stop)
            delivered = JournalGateway(self._files.deliveries, worker="canary", delivery_time=timedelta())
            stack.callback(delivered.close)
            self._go(agree_on_start, cast, delivered)

    def _go(self, agree_on_start: Callable[[], Instant], cast: RunProcesses, gateway: JournalGateway) -> None:
        started = agree_on_start()
        period_s = self._plan.profile.canary_period_s
        canary_sender = CanarySender(gateway, self.directory / "clock.jsonl", period_s=period_s)
        canary_sender.start(started)
        try:
            for client in cast.clients:
                client.begin(started)
            # Not before that: a large plan takes longer to write than there is time until the first operation.
            self._files.write_plan(self._plan, started)
            self._progress("running")
            cast.supervisor.start()
            settled = partial(cast.supervisor.wait_settled, self._stop, within_s=SETTLED_WITHIN_S)
            nemesis = Nemesis(maker(cast.fault_targets()), settled, self.directory / "faults.jsonl", self._stop)
            nemesis.carry_out(self._plan.faults, started)
            nemesis.close()
            for client in cast.clients:
                client.wait_done(started, self._stop)
            self._wait_for_deadlines(started, nemesis.last_healed_ns)
            self._progress("closing")
            pending = self._wait_for_pending(cast)
            quiet_s = self._wait_for_quiet()
            cast.supervisor.stop()
            alive = cast.alive()
            stop_all(cast.workers, within_s=STOP_WITHIN_S)
            self._stop.sleep(self._plan.profile.in_flight_allowance_s)
            cast.record_effects()
        finally:
            canary_sender.stop()
        self._files.close(
            pending,
            quiet_s=quiet_s,
            workers_alive=alive,
            restarts=cast.supervisor.restarts,
            unverified=nemesis.unverified,
        )

    def _wait_for_deadlines(self, started: Instant, last_healed_ns: int) -> None:
        """Wait until no notification can still be in time, and then the grace."""
        profile = self._plan.profile
        owed_until_s = inf if profile.owed_until_s is None else profile.owed_until_s
        dues = [op.due_s for op in self._plan.operations if op.due_s is not None and op.due_s <= owed_until_s]
        last_due_s = max(dues, default=0.0)
        budget_s = max(profile.recovery_budget_s.values(), default=0.0)
        excused_until_ns = last_healed_ns + int(budget_s * 1e9) if last_healed_ns else 0
        last_ready_ns = max(started.mono_ns + int(last_due_s * 1e9), excused_until_ns)
        until_ns = last_ready_ns + int((profile.lateness_limit_s + profile.grace_s) * 1e9)
        owed = OutstandingOperations(self._files)
        while time.monotonic_ns() < until_ns:
            if profile.measures_capacity and not owed.anything():
                # Nor can anything come again: longer than whoever rescues waits.
                again_ns = int((self._plan.environment.rescue_after_s + profile.grace_s) * 1e9)
                self._stop.sleep_until(min(until_ns, time.monotonic_ns() + again_ns))
                return
            self._stop.sleep_until(min(until_ns, time.monotonic_ns() + LOOK_EVERY_NS))

    def _wait_for_pending(self, cast: RunProcesses) -> Sequence[Pending]:
        """Wait until the design's own store is empty or its budget is spent; return what is left."""
        give_up_at = time.monotonic() + self._plan.profile.pending_budget_s
        while (pending := cast.pending()) and time.monotonic() < give_up_at:
            self._stop.sleep(0.1)
        return pending

    def _wait_for_quiet(self) -> float:
        """Wait until nothing was delivered for a while, unless it never ends; return for how many seconds."""
        give_up_at = time.monotonic() + QUIET_WITHIN_S
        while (quiet_s := self._files.seconds_since_last_delivery()) < self._plan.profile.quiet_s:
            if time.monotonic() > give_up_at:
                break
            self._stop.sleep(0.1)
        return quiet_s
