"""Several designs that go on until they are told to end, and suffer together whatever somebody thinks of."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import count
from math import inf
from pathlib import Path
from random import Random

from duetime.clock import Instant
from duetime.errors import DuetimeError, Interrupted
from duetime.faults.fault import FAULT_KINDS, Fault, FaultKind, Sleeper
from duetime.harness.plan.plan import Environment, Plan, PlannedFault, PlannedOperation, Profile, operation_from
from duetime.harness.plan.scenario import LATENESS_LIMIT_S
from duetime.harness.plan.workload import WITHIN_SECOND_S
from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.external_services import own_database
from duetime.harness.processes.services import Endpoints
from duetime.harness.runs.canary import CanarySender
from duetime.harness.runs.context import RunContext
from duetime.harness.runs.fault_factory import make_fault
from duetime.harness.runs.nemesis import Nemesis
from duetime.harness.runs.participants import RunProcesses
from duetime.harness.runs.run_directory import RunDirectory
from duetime.harness.runs.spec import RunSpec
from duetime.harness.runs.start_barrier import StartBarrier
from duetime.interface import Design
from duetime.runtime.gateway import JournalGateway

SCENARIO = "demo"
USERS = 500
AHEAD_S = 6
"""How long before it is due something is scheduled: queues must hold it, and a viewer must see it coming."""
EVERY_S = 0.25
"""How often operations are thought of; what a viewer asks for waits for no longer than that."""
SETTLED_WITHIN_S = 30.0
TOGETHER_S = 5.0
QUIET_WITHIN_S = 10.0
SHARED = ("database_kill", "broker_kill")
ON_WORKERS = ("kill", "pause", "deploy")
KINDS: tuple[FaultKind, ...] = ("kill", "pause", "deploy", "worker_added", "database_kill", "broker_kill")
"""What can be done to them."""


class ActionRejected(DuetimeError):
    """What was asked for cannot be done in the present state; the message says why."""


@dataclass(slots=True)
class ActiveFault:
    """One thing done to all designs at once. phase: ``begins``, ``lasts``, ``ends`` or ``over``."""

    planned: PlannedFault
    faults: Mapping[str, Fault]
    phase: str = "begins"


class SharedFault:
    """One fault of a service that all designs share: it happens once, and each writes down what it saw of it."""

    def __init__(self, fault: Fault, sharers: int) -> None:
        self._fault = fault
        self._all_there = threading.Barrier(sharers)
        self._one = threading.Lock()
        self._done: dict[str, object] = {}

    def prepare(self, stop: Sleeper) -> str:
        return str(self._once("aim", partial(self._fault.prepare, stop)))

    def inject(self) -> None:
        # Not before each has written down that it is about to happen; who cannot must not hold up the rest for ever.
        with suppress(threading.BrokenBarrierError):
            self._all_there.wait(timeout=TOGETHER_S)
        self._once("inject", self._fault.inject)

    def verify_injected(self, stop: Sleeper) -> str:
        return str(self._once("observe", partial(self._fault.verify_injected, stop)))

    def heal(self) -> None:
        self._once("heal", self._fault.heal)

    def verify_healed(self, stop: Sleeper) -> str:
        return str(self._once("healed", partial(self._fault.verify_healed, stop)))

    def _once(self, step: str, do: Callable[[], object]) -> object:
        with self._one:
            if step not in self._done:
                try:
                    self._done[step] = do()
                except Exception as error:  # noqa: BLE001 - each of the sharers gets the same
                    self._done[step] = error
            done = self._done[step]
        if isinstance(done, Exception):
            raise done
        return done


class DesignRun:
    """One design of a `Live`, recorded like any other run."""

    def __init__(self, name: str, cast: RunProcesses, files: RunDirectory, gateway: JournalGateway) -> None:
        self.name = name
        self.cast = cast
        self.files = files
        self.nemesis: Nemesis
        self._gateway = gateway
        self._metronome: CanarySender

    def begin(self, started: Instant, plan: Plan, stop: CancelToken) -> None:
        self.files.write_plan(started)
        self._metronome = CanarySender(self._gateway, self.files.clock, period_s=plan.profile.canary_period_s)
        self._metronome.start(started)
        for client in self.cast.clients:
            client.begin(started, more_to_come=True)
        self.cast.supervisor.start()
        settled = partial(self.cast.supervisor.wait_settled, stop, within_s=SETTLED_WITHIN_S)
        self.nemesis = Nemesis(self.make, settled, self.files.faults, stop)

    def make(self, planned: PlannedFault) -> Fault:
        return make_fault(planned, self.cast.fault_targets())

    def end(self) -> None:
        self._metronome.stop()
        self.nemesis.close()

    def workers(self, gone: Collection[str]) -> list[Mapping[str, str]]:
        """Each server and its state, without those that were taken away again."""
        there = [worker for worker in self.cast.workers if worker.wanted or worker.name not in gone]
        return [{"name": worker.name, "state": worker.state} for worker in there]


@dataclass(slots=True)
class Traffic:
    """What the application does by itself. a_second: notifications that fall due in a second; 0 for none."""

    a_second: float
    held: int = 0
    """How many want it to stand still."""
    owed: float = 0.0
    upcoming: dict[int, float] = field(default_factory=dict)
    """Events that have not begun: when their reminders fall due, in seconds after the start."""


class DemoSession:
    """Designs on one database server and one broker, as one company would run them; use as a context manager.

    Every method may be called from any thread.

    out: where the runs are kept. delivery_time_s: how long the outside world takes over one delivery.
    """

    def __init__(
        self,
        designs: Mapping[str, Design],
        *,
        context: RunContext,
        out: Path,
        a_second: float = 2.0,
        workers: int = 1,
        seed: int = 1,
        delivery_time_s: float = 0.04,
    ) -> None:
        self.runs: dict[str, DesignRun] = {}
        self.traffic = Traffic(a_second)
        self.doing: list[ActiveFault] = []
        self.broken = ""
        self.broker_url = ""
        self._designs = designs
        self._context = context
        self._out = out
        self._random = Random(f"{SCENARIO}:{seed}")
        self._numbers = count(1)
        self._fault_numbers = count(1)
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._saving = False
        self._started: Instant | None = None
        self._operations = context.tempdir / "operations.jsonl"
        self._plan = Plan(
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

    @property
    def profile(self) -> Profile:
        return self._plan.profile

    @contextmanager
    def running(self) -> Iterator[DemoSession]:
        """Start everything; end it all afterwards.

        Raises:
            DuetimeError: something did not start.
        """
        with ExitStack() as stack:
            endpoints = stack.enter_context(self._context.services.for_run(SCENARIO, 0))
            self.broker_url = endpoints.broker_url
            for slot, name in enumerate(self._designs):
                self.runs[name] = self._prepare(slot, name, endpoints, stack)
            for run in self.runs.values():
                run.cast.wait_ready(self._context.stop)
            self._started = StartBarrier(1, self._context.stop).wait()
            for run in self.runs.values():
                run.begin(self._started, self._plan, self._context.stop)
                stack.callback(run.end)
            self._context.stop.sleep_until(self._started.mono_ns)
            drumming = threading.Thread(target=self._generate_traffic, name="traffic", daemon=True)
            drumming.start()
            stack.callback(drumming.join)
            stack.callback(self._ending.set)
            # First of all: whoever waits for something in another thread gives up.
            stack.callback(self._context.stop.set)
            yield self

    def _prepare(self, slot: int, name: str, endpoints: Endpoints, stack: ExitStack) -> DesignRun:
        design = self._designs[name]
        spec = RunSpec(
            design=design,
            design_name=name,
            plan=self._plan,
            directory=self._out / SCENARIO / directory_of(design, self._plan.seed),
            slot=slot,
            context=self._context,
        )
        files = RunDirectory(spec)
        files.make()
        files.write_plan()
        url = stack.enter_context(own_database(endpoints.database_url))
        mine = replace(endpoints, database_url=url, database_through=url)
        cast = RunProcesses(files, mine, watched=True)
        cast.install(range(1, USERS + 1))
        stack.callback(cast.kill)
        cast.start(clients=1)
        gateway = JournalGateway(files.deliveries, worker="canary", delivery_time=timedelta())
        stack.callback(gateway.close)
        return DesignRun(name, cast, files, gateway)

    def now_s(self) -> float:
        """Seconds since the start."""
        return 0.0 if self._started is None else (time.monotonic_ns() - self._started.mono_ns) / 1e9

    @property
    def started_ns(self) -> int:
        return 0 if self._started is None else self._started.mono_ns

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """No traffic of its own meanwhile; several may want that at once."""
        with self._lock:
            self.traffic.held += 1
        try:
            yield
        finally:
            with self._lock:
                self.traffic.held -= 1

    # What users do

    def schedule(self, *, in_s: float, people: int = 1) -> int:
        """Create one event whose reminders fall due `in_s` seconds from now; return its number."""
        with self._lock:
            self._refuse_while_saving()
            now_s = self.now_s()
            event = next(self._numbers)
            first = event * 7
            self._send(
                PlannedOperation(
                    at_s=round(now_s, 3),
                    client=0,
                    do="create_event",
                    event=event,
                    users=tuple((first + guest) % USERS + 1 for guest in range(people)),
                    due_s=round(now_s + in_s, 6),
                )
            )
            self.traffic.upcoming[event] = now_s + in_s
        return event

    def move(self, event: int, *, by_s: float) -> None:
        """Begin an event later.

        Raises:
            ActionRejected: it has begun, or there is none.
        """
        with self._lock:
            self._refuse_while_saving()
            due_s = self._upcoming(event) + by_s
            at_s = round(self.now_s(), 3)
            self._send(PlannedOperation(at_s=at_s, client=0, do="move_event", event=event, due_s=round(due_s, 6)))
            self.traffic.upcoming[event] = due_s

    def cancel(self, event: int) -> None:
        """Call an event off.

        Raises:
            ActionRejected: it has begun, or there is none.
        """
        with self._lock:
            self._refuse_while_saving()
            self._upcoming(event)
            del self.traffic.upcoming[event]
            self._send(PlannedOperation(at_s=round(self.now_s(), 3), client=0, do="cancel_event", event=event))

    # What goes wrong

    def do(self, kind: FaultKind, target: str) -> str:
        """Begin a fault in all designs; return its name, by which it is ended.

        Raises:
            ActionRejected: it makes no sense in the present state.
        """
        with self._lock:
            self._refuse_while_saving()
            self._check(kind, target)
            name = f"f{next(self._fault_numbers)}"
            planned = PlannedFault(fault=name, kind=kind, target=target, inject_s=round(self.now_s(), 3), heal_s=inf)
            if kind == "worker_added":
                for run in self.runs.values():
                    run.cast.add_worker(target)
            doing = ActiveFault(planned, self._made(planned))
            self.doing.append(doing)
        self.broken = ""
        bitten = self._each(doing, lambda run: run.nemesis.inject_fault(doing.planned, doing.faults[run.name]))
        if not any(bitten.values()):
            with self._lock:
                self.doing.remove(doing)
            why = {
                run.nemesis.unverified[-1].partition(": ")[2] for run in self.runs.values() if run.nemesis.unverified
            }
            raise ActionRejected(f"nothing happened: {'; '.join(sorted(why)) or self.broken}")
        if missing := [run for run, injected in bitten.items() if not injected]:
            self.broken = f"{kind} of {target} did not happen in {', '.join(missing)}"
        doing.phase = "lasts"
        if kind == "deploy":
            with suppress(ActionRejected):
                self.undo(name)
        return name

    def undo(self, fault: str) -> None:
        """End a fault in all designs, and wait until it is over.

        Raises:
            ActionRejected: there is none of that name that lasts.
        """
        with self._lock:
            doing = next((one for one in self.doing if one.planned.fault == fault and one.phase == "lasts"), None)
            if doing is None:
                raise ActionRejected(f"nothing called {fault} is going on; it may be ending already")
            doing.planned = replace(doing.planned, heal_s=round(self.now_s(), 3))
            doing.phase = "ends"
        self.broken = ""
        mended = self._each(doing, lambda run: run.nemesis.heal_fault(doing.planned, doing.faults[run.name]))
        if all(mended.values()):
            doing.phase = "over"
            return
        # It can be tried again.
        doing.phase = "lasts"
        left = ", ".join(run for run, healed in mended.items() if not healed)
        self.broken = self.broken or f"{doing.planned.kind} of {doing.planned.target} was not seen to be over in {left}"

    def undo_all(self) -> None:
        """End whatever lasts, the last to begin first: what was done to a server that joined ends before it leaves."""
        for doing in [one for one in reversed(self.doing) if one.phase == "lasts"]:
            with suppress(ActionRejected):
                self.undo(doing.planned.fault)

    def removed_workers(self) -> set[str]:
        """Servers that joined and left."""
        return {one.planned.target for one in self.doing if one.planned.kind == "worker_added" and one.phase == "over"}

    def next_worker_name(self) -> str:
        """The name of the next server that could be added."""
        there = {worker.name for run in self.runs.values() for worker in run.cast.workers if worker.wanted}
        return next(name for number in count(self._plan.workers + 1) if (name := f"worker-{number}") not in there)

    def save(self, out: Path) -> list[Path]:
        """Mend everything, wait until all that is owed can have come, and keep a copy that is closed.

        The traffic stands still meanwhile, nothing else is done, and everything goes on afterwards. Returns a run
        directory for each design.

        Raises:
            ActionRejected: it is being saved already, or something could not be mended.
        """
        with self._lock:
            self._refuse_while_saving()
            self._saving = True
        try:
            with self.standing_still():
                self._wait_until_nothing_is_under_way()
                self.undo_all()
                if lasting := [one.planned.fault for one in self.doing if one.phase != "over"]:
                    raise ActionRejected(
                        f"{', '.join(lasting)} could not be ended, so what follows cannot be judged: {self.broken}"
                    )
                self._wait_until_all_is_due()
                plan = self.plan()
                return [self._keep(run, plan, out) for run in self.runs.values()]
        finally:
            self._saving = False

    def plan(self) -> Plan:
        """What was done so far, as a plan that can be carried out again."""
        written = self._operations.read_text().splitlines() if self._operations.exists() else []
        return replace(
            self._plan,
            operations=[operation_from(json.loads(line)) for line in written],
            faults=tuple(one.planned for one in self.doing),
        )

    def _keep(self, run: DesignRun, plan: Plan, out: Path) -> Path:
        give_up_at = time.monotonic() + QUIET_WITHIN_S
        while run.files.seconds_since_last_delivery() < plan.profile.quiet_s and time.monotonic() < give_up_at:
            self._context.stop.sleep(0.1)
        quiet_s, closed_ns = run.files.seconds_since_last_delivery(), time.monotonic_ns()
        kept = RunDirectory(replace(run.files.spec, plan=plan, directory=out / SCENARIO / run.files.path.name))
        shutil.copytree(run.files.path, kept.path)
        kept.write_plan(self._started)
        kept.close(
            run.cast.pending(),
            quiet_s=quiet_s,
            workers_alive=run.cast.alive(),
            restarts=list(run.cast.supervisor.restarts),
            unverified=list(run.nemesis.unverified),
            at_ns=closed_ns,
        )
        return kept.path

    def _wait_until_nothing_is_under_way(self) -> None:
        give_up_at = time.monotonic() + SETTLED_WITHIN_S
        while any(one.phase in ("begins", "ends") for one in self.doing) and time.monotonic() < give_up_at:
            self._context.stop.sleep(0.05)

    def _refuse_while_saving(self) -> None:
        if self._saving:
            raise ActionRejected("it is being saved: nothing else is done until that is over")

    def _wait_until_all_is_due(self) -> None:
        profile = self.profile
        last_healed_ns = max(run.nemesis.last_healed_ns for run in self.runs.values())
        healthy_s = (last_healed_ns - self.started_ns) / 1e9 + max(profile.recovery_budget_s.values())
        last_due_s = max([*self.traffic.upcoming.values(), self.now_s() + EVERY_S])
        patience_s = profile.lateness_limit_s + profile.grace_s + profile.quiet_s
        until_s = max(last_due_s, healthy_s if last_healed_ns else 0.0) + patience_s
        self._context.stop.sleep(until_s - self.now_s())

    def _made(self, planned: PlannedFault) -> Mapping[str, Fault]:
        if planned.kind in SHARED:
            one = next(iter(self.runs.values())).make(planned)
            shared = SharedFault(one, sharers=len(self.runs))
            return dict.fromkeys(self.runs, shared)
        return {name: run.make(planned) for name, run in self.runs.items()}

    def _check(self, kind: FaultKind, target: str) -> None:
        if kind not in KINDS:
            raise ActionRejected(f"{kind} is not among what a demo can do: {', '.join(KINDS)}")
        lasting = [one.planned for one in self.doing if one.phase != "over"]
        if kind in SHARED and any(one.kind == kind for one in lasting):
            raise ActionRejected(f"the {kind.removesuffix('_kill')} is down already")
        if kind == "worker_added":
            if any(one.kind == kind and one.target == target for one in lasting):
                raise ActionRejected(f"{target} is being added already")
            if target != self.next_worker_name():
                raise ActionRejected(f"{target} is not the next server; that is {self.next_worker_name()}")
            return
        if kind in ON_WORKERS:
            for run in self.runs.values():
                states = {worker.name: worker.state for worker in run.cast.workers}
                if target not in {"all", "delivering", *states}:
                    raise ActionRejected(f"there is no server called {target}")
                concerned = [states[target]] if target in states else list(states.values())
                if "serving" not in concerned:
                    raise ActionRejected(f"{target} of {run.name} is {concerned[0] if target in states else 'not up'}")

    def _each(self, doing: ActiveFault, do: Callable[[DesignRun], bool]) -> Mapping[str, bool]:
        """Do it to all designs at once; whether it was done to each. A failure of one is kept, and the rest goes on."""
        done = dict.fromkeys(self.runs, False)

        def one(run: DesignRun) -> None:
            try:
                done[run.name] = do(run)
            except Interrupted:
                pass
            except Exception as error:  # noqa: BLE001 - the page says it; the run's own files show the gap
                self.broken = f"{doing.planned.kind} of {doing.planned.target} in {run.name}: {error}"

        threads = [threading.Thread(target=one, args=(run,), daemon=True) for run in self.runs.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return done

    def _upcoming(self, event: int) -> float:
        due_s = self.traffic.upcoming.get(event)
        if due_s is None or due_s < self.now_s():
            raise ActionRejected(f"event {event} is not ahead of us: its reminder was due, or it was called off")
        return due_s

    def _send(self, operation: PlannedOperation) -> None:
        with self._operations.open("a") as kept:
            kept.write(json.dumps(asdict(operation)) + "\n")
        for run in self.runs.values():
            try:
                run.cast.clients[0].carry_out(operation)
            except OSError as error:
                self.broken = f"the application's process of {run.name} is gone: {error}"

    def _generate_traffic(self) -> None:
        """The traffic: at every beat what was thought of since the last one."""
        while not self._ending.wait(EVERY_S):
            with self._lock:
                now_s = self.now_s()
                for event in [event for event, due_s in self.traffic.upcoming.items() if due_s < now_s]:
                    del self.traffic.upcoming[event]
                if self.traffic.held:
                    continue
                self.traffic.owed = min(self.traffic.owed, 1.0) + self.traffic.a_second * EVERY_S
                while self.traffic.owed >= 1.0:
                    self.traffic.owed -= 1.0
                    # Clear of the full second at which pollers look, so that what is seen is not the jitter of ticks.
                    due_s = int(now_s) + AHEAD_S + self._random.uniform(*WITHIN_SECOND_S)
                    self.schedule(in_s=due_s - now_s)


def directory_of(design: Design, seed: int) -> str:
    return f"{design.name.replace(':', '-')}-seed{seed}"
