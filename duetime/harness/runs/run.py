"""Carries out one plan with one design, recorded in a run directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial

from duetime.clock import Instant
from duetime.harness.plan.workload import CLIENTS
from duetime.harness.processes.services import ServiceRequirements
from duetime.harness.processes.worker_process import stop_all
from duetime.harness.runs.canary import CanarySender
from duetime.harness.runs.fault_factory import fault_maker
from duetime.harness.runs.nemesis import Nemesis
from duetime.harness.runs.participants import RunProcesses
from duetime.harness.runs.run_directory import OutstandingOperations, RunDirectory
from duetime.harness.runs.spec import RunSpec
from duetime.runtime.gateway import JournalGateway

STOP_WITHIN_S = 3.0
SETTLED_WITHIN_S = 30.0
CHECK_EVERY_NS = 500_000_000
NEXT_STARTS_S = 7.0
"""Before the last deadline: about as long as the processes of the next batch need to start."""
QUIET_WITHIN_S = 10.0
"""A design that still delivers after this is judged by what it has delivered."""

Progress = Callable[[str], None]


class Run:
    """One run. progress: called with each phase."""

    def __init__(self, spec: RunSpec, *, progress: Progress = lambda _phase: None) -> None:
        self.unverified: Sequence[str] = ()
        """Faults that were not verified; known when the run has been carried out."""
        self.has_directory = False
        """Whether this run has made its directory."""
        self.disorderly_exits: Sequence[str] = ()
        """Orderly stops that ended with another status than the role's; known at the same time."""
        self._spec = spec
        self._plan = spec.plan
        self._stop = spec.context.stop
        self._progress = progress
        self._files = RunDirectory(spec)

    def carry_out(self, agree_on_start: Callable[[], Instant]) -> None:
        """Start the processes, wait for `agree_on_start` to return the start, carry out the plan, close.

        Raises:
            DuetimeError: the run could not be carried out. Its directory holds the records until then, not closed.
        """
        self._files.make()
        self.has_directory = True
        self._files.write_plan()
        if self._plan.hits_deliveries():
            self._files.record_phases()
        requirements = ServiceRequirements(
            environment=self._plan.environment,
            proxied=self._plan.proxied_services(),
            broker_isolated=self._plan.needs_isolated_broker(),
            on_hosts=self._plan.needs_hosts(),
            database_by_tcp=self._spec.design.contender is not None,
            services=self._spec.design.services,
            shards=self._spec.design.shards,
            small_disks=self._plan.small_disks(),
        )
        with ExitStack() as stack:
            self._progress("starting")
            services = self._spec.context.services.for_run(self._spec.name, self._spec.slot, requirements)
            processes = RunProcesses(self._files, stack.enter_context(services))
            stack.callback(processes.kill)
            processes.install(sorted({user for operation in self._plan.operations for user in operation.users}))
            processes.start_workers()
            # A Celery worker that has imported waits a second for its neighbours. The clients import meanwhile.
            processes.wait_for_log_lines(self._stop)
            processes.start_clients(CLIENTS)
            processes.wait_ready(self._stop)
            gateway = JournalGateway(self._files.deliveries, worker="canary", delivery_time=timedelta())
            stack.callback(gateway.close)
            self._files.record_database_clock()
            self._carry_out_plan(agree_on_start(), processes, gateway)

    def _carry_out_plan(self, started: Instant, processes: RunProcesses, gateway: JournalGateway) -> None:
        canary_sender = CanarySender(gateway, self._files.clock, period_s=self._plan.profile.canary_period_s)
        canary_sender.start(started)
        try:
            for client in processes.clients:
                client.begin(started)
            # After the clients have begun: writing a large plan takes longer than the time until the first operation.
            self._files.write_plan(started)
            self._progress("running")
            processes.supervisor.start()
            nemesis = self._inject_faults(started, processes)
            until_ns = self._last_deadline_ns(started, nemesis.last_healed_ns)
            self._wait_until_nearly_over(nemesis.last_healed_ns, until_ns)
            for client in processes.clients:
                client.wait_done(started, self._stop)
            self._wait_for_deadlines(until_ns)
            self._progress("closing")
            self._wait_for_pending(processes)
            quiet_s = self._wait_for_quiet()
            processes.supervisor.stop()
            workers_alive = processes.alive()
            # Before the stop, because a stopped worker may give back what it held, or be killed while it acknowledges.
            stored = processes.pending()
            cut_short = stop_all(processes.workers, within_s=STOP_WITHIN_S)
            self._stop.sleep(self._plan.profile.in_flight_allowance_s)
            after_stop = processes.pending()
            processes.record_effects()
        finally:
            canary_sender.stop()
        self._files.record_database_clock()
        self.unverified, self.disorderly_exits = nemesis.unverified, processes.disorderly_exits()
        self._files.close(
            stored,
            after_stop=after_stop,
            cut_short=cut_short,
            quiet_s=quiet_s,
            workers_alive=workers_alive,
            restarts=processes.supervisor.restarts,
            unverified=nemesis.unverified,
            disorderly_exits=self.disorderly_exits,
        )

    def _inject_faults(self, started: Instant, processes: RunProcesses) -> Nemesis:
        settled = partial(processes.supervisor.wait_settled, self._stop, within_s=SETTLED_WITHIN_S)
        nemesis = Nemesis(fault_maker(processes.fault_targets()), settled, self._files.faults, self._stop)
        nemesis.carry_out(self._plan.faults, started)
        nemesis.close()
        return nemesis

    def _last_deadline_ns(self, started: Instant, last_healed_ns: int) -> int:
        """Return when every deadline has passed, plus the grace time."""
        profile = self._plan.profile
        last_ready_ns = max(started.mono_ns + int(self._plan.last_due_s() * 1e9), self._recovered_ns(last_healed_ns))
        return last_ready_ns + int((profile.lateness_limit_s + profile.grace_s) * 1e9)

    def _recovered_ns(self, last_healed_ns: int) -> int:
        """Return when the design must have recovered from the last fault; 0 if there was none."""
        budget_s = max(self._plan.profile.recovery_budget_s.values(), default=0.0)
        return last_healed_ns + int(budget_s * 1e9) if last_healed_ns else 0

    def _wait_until_nearly_over(self, last_healed_ns: int, until_ns: int) -> None:
        """Wait until processes of the next batch may start: they compete with deliveries, but with no recovery.

        A run that measures capacity is over when nothing is owed, and no other starts before.
        """
        if not self._plan.profile.measures_capacity:
            self._stop.sleep_until(max(until_ns - int(NEXT_STARTS_S * 1e9), self._recovered_ns(last_healed_ns)))
            self._progress("waiting")

    def _wait_for_deadlines(self, until_ns: int) -> None:
        profile = self._plan.profile
        if profile.measures_capacity:
            outstanding = OutstandingOperations(self._files)
            while outstanding.remain() and time.monotonic_ns() < until_ns:
                self._stop.sleep_until(min(until_ns, time.monotonic_ns() + CHECK_EVERY_NS))
            # Longer than a design takes to rescue a claim, because a rescued one is delivered again.
            rescue_ns = int((self._plan.environment.rescue_after_s + profile.grace_s) * 1e9)
            until_ns = min(until_ns, time.monotonic_ns() + rescue_ns)
        self._stop.sleep_until(until_ns)

    def _wait_for_pending(self, processes: RunProcesses) -> None:
        """Wait until the design's own store awaits no delivery, or the time for that is over."""
        # A design that looks for due notifications seldom gets the time for one more look: late is not missed.
        budget_s = self._plan.profile.pending_budget_s + self._spec.design.guarantees.punctual_to_s
        give_up_at = time.monotonic() + budget_s
        while processes.pending().awaits_delivery and time.monotonic() < give_up_at:
            self._stop.sleep(0.1)

    def _wait_for_quiet(self) -> float:
        """Wait until nothing has been delivered for a while; return the seconds since the last delivery."""
        give_up_at = time.monotonic() + QUIET_WITHIN_S * self._plan.slow
        while (quiet_s := self._files.seconds_since_last_delivery()) < self._plan.profile.quiet_s:
            if time.monotonic() > give_up_at:
                break
            self._stop.sleep(0.1)
        return quiet_s
