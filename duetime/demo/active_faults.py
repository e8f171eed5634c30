"""Faults of a demo session: each is injected into all designs at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from math import inf
from typing import Literal

from duetime.demo.design_run import DesignRun
from duetime.errors import DuetimeError, Interrupted
from duetime.faults.fault import Fault, FaultKind, Sleeper
from duetime.harness.plan.plan import PlannedFault

INJECT_TOGETHER_WITHIN_S = 5.0
SHARED = ("database_kill", "broker_kill")
ON_WORKERS = ("kill", "pause", "deploy")
KINDS: tuple[FaultKind, ...] = ("kill", "pause", "deploy", "worker_added", "database_kill", "broker_kill")
"""The kinds of fault that a demo can inject."""


class ActionRejected(DuetimeError):
    """The action is not possible in the present state; the message says why."""


class SharedFault:
    """One fault of a service that all designs share: each step happens once, and each design records its evidence."""

    def __init__(self, fault: Fault, sharers: int) -> None:
        self._fault = fault
        self._all_recorded = threading.Barrier(sharers)
        self._lock = threading.Lock()
        self._results: dict[str, object] = {}

    def prepare(self, stop: Sleeper) -> str:
        return str(self._once("prepare", partial(self._fault.prepare, stop)))

    def inject(self) -> None:
        # Each design must have recorded its injection first; a design that cannot holds the others up for a while only.
        with suppress(threading.BrokenBarrierError):
            self._all_recorded.wait(timeout=INJECT_TOGETHER_WITHIN_S)
        self._once("inject", self._fault.inject)

    def verify_injected(self, stop: Sleeper) -> str:
        return str(self._once("verify_injected", partial(self._fault.verify_injected, stop)))

    def heal(self) -> None:
        self._once("heal", self._fault.heal)

    def verify_healed(self, stop: Sleeper) -> str:
        return str(self._once("verify_healed", partial(self._fault.verify_healed, stop)))

    def _once(self, step: str, run_step: Callable[[], object]) -> object:
        """Run a step for the first caller; every caller gets its result or its error."""
        with self._lock:
            if step not in self._results:
                try:
                    self._results[step] = run_step()
                except Exception as error:  # noqa: BLE001 - every sharer gets the same error
                    self._results[step] = error
            result = self._results[step]
        if isinstance(result, Exception):
            raise result
        return result


@dataclass(slots=True)
class ActiveFault:
    """One fault in all designs. faults: by design. unaffected: the designs in which it did not happen."""

    planned: PlannedFault
    faults: Mapping[str, Fault]
    phase: Literal["injecting", "active", "healing", "healed"] = "injecting"
    unaffected: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"{self.planned.kind} of {self.planned.target}"


class ActiveFaults:
    """Injects and heals the faults of a session; every method may be called from any thread.

    error: what went wrong in the last injection or healing, for the page.
    """

    def __init__(self, runs: Mapping[str, DesignRun], *, workers: int, now_s: Callable[[], float]) -> None:
        """workers: of each design at the start. now_s: seconds since the start of the session."""
        self.all: list[ActiveFault] = []
        self.error = ""
        self._runs = runs
        self._workers = workers
        self._now_s = now_s
        self._numbers = count(1)
        self._lock = threading.RLock()

    def begin(self, kind: FaultKind, target: str) -> ActiveFault:
        """Check a fault and register it as injecting.

        Raises:
            ActionRejected: it makes no sense in the present state.
        """
        with self._lock:
            self._check(kind, target)
            name = f"f{next(self._numbers)}"
            planned = PlannedFault(fault=name, kind=kind, target=target, inject_s=round(self._now_s(), 3), heal_s=inf)
            if kind == "worker_added":
                for run in self._runs.values():
                    run.processes.add_worker(target)
            active = ActiveFault(planned, self._make(planned))
            self.all.append(active)
            return active

    def inject(self, active: ActiveFault) -> str:
        """Inject a fault that has begun into all designs; return its name. A deployment is healed at once.

        Raises:
            ActionRejected: no design was affected.
        """
        self.error = ""
        injected = self._in_each_run(
            active, lambda run: run.nemesis.inject_fault(active.planned, active.faults[run.name])
        )
        if not any(injected.values()):
            with self._lock:
                self.all.remove(active)
            reasons = {
                run.nemesis.unverified[-1].partition(": ")[2] for run in self._runs.values() if run.nemesis.unverified
            }
            raise ActionRejected(f"nothing happened: {'; '.join(sorted(reasons)) or self.error}")
        active.unaffected = [name for name, affected in injected.items() if not affected]
        if active.unaffected:
            self.error = f"{active.label} did not happen in {', '.join(active.unaffected)}"
        active.phase = "active"
        if active.planned.kind == "deploy":
            with suppress(ActionRejected):
                self.heal(active.planned.fault)
        return active.planned.fault

    def heal(self, name: str) -> None:
        """Heal an active fault in all designs, and wait for the evidence. A fault that does not heal stays active.

        Raises:
            ActionRejected: no active fault has this name.
        """
        with self._lock:
            active = next((fault for fault in self._active() if fault.planned.fault == name), None)
            if active is None:
                raise ActionRejected(f"no fault {name} is active; it may be healing already")
            active.planned = replace(active.planned, heal_s=round(self._now_s(), 3))
            active.phase = "healing"
        self.error = ""
        healed = self._in_each_run(active, lambda run: run.nemesis.heal_fault(active.planned, active.faults[run.name]))
        if all(healed.values()):
            active.phase = "healed"
            return
        active.phase = "active"
        unhealed = ", ".join(name for name, is_healed in healed.items() if not is_healed)
        self.error = self.error or f"{active.label} was not verified as healed in {unhealed}"

    def heal_all(self) -> None:
        """Heal the active faults, the latest first: a fault of an added worker is healed before the worker leaves."""
        for active in reversed(self._active()):
            with suppress(ActionRejected):
                self.heal(active.planned.fault)

    def unhealed(self) -> list[ActiveFault]:
        return [fault for fault in self.all if fault.phase != "healed"]

    def wait_until_settled(self, stop: Sleeper, *, within_s: float) -> None:
        """Wait until no fault is being injected or healed."""
        give_up_at = time.monotonic() + within_s
        while any(fault.phase in ("injecting", "healing") for fault in self.all) and time.monotonic() < give_up_at:
            stop.sleep(0.05)

    def unaffected(self, names: Collection[str]) -> set[str]:
        """The designs in which one of the faults with these `names` did not happen."""
        return {design for fault in self.all if fault.planned.fault in names for design in fault.unaffected}

    def removed_workers(self) -> set[str]:
        """Workers that were added and removed again."""
        return {
            fault.planned.target
            for fault in self.all
            if fault.planned.kind == "worker_added" and fault.phase == "healed"
        }

    def next_worker_name(self) -> str:
        """The name of the next worker that can be added."""
        taken = {worker.name for run in self._runs.values() for worker in run.processes.workers if worker.wanted}
        return next(name for number in count(self._workers + 1) if (name := f"worker-{number}") not in taken)

    def _active(self) -> list[ActiveFault]:
        return [fault for fault in self.all if fault.phase == "active"]

    def _make(self, planned: PlannedFault) -> Mapping[str, Fault]:
        if planned.kind in SHARED:
            fault = next(iter(self._runs.values())).make_fault(planned)
            return dict.fromkeys(self._runs, SharedFault(fault, sharers=len(self._runs)))
        return {name: run.make_fault(planned) for name, run in self._runs.items()}

    def _check(self, kind: FaultKind, target: str) -> None:
        if kind not in KINDS:
            raise ActionRejected(f"a demo cannot inject {kind}; it can inject {', '.join(KINDS)}")
        same_kind = [fault.planned for fault in self.unhealed() if fault.planned.kind == kind]
        if kind in SHARED and same_kind:
            raise ActionRejected(f"the {kind.removesuffix('_kill')} is down already")
        if kind == "worker_added":
            if any(planned.target == target for planned in same_kind):
                raise ActionRejected(f"{target} is being added already")
            if target != self.next_worker_name():
                raise ActionRejected(f"{target} is not the next worker; that is {self.next_worker_name()}")
        elif kind in ON_WORKERS:
            for run in self._runs.values():
                _check_serving(run, target)

    def _in_each_run(self, active: ActiveFault, step: Callable[[DesignRun], bool]) -> Mapping[str, bool]:
        """Run `step` in all designs at once; return where it succeeded. A failure in one does not stop the others."""
        done = dict.fromkeys(self._runs, False)

        def run_step(run: DesignRun) -> None:
            try:
                done[run.name] = step(run)
            except Interrupted:
                pass
            except Exception as error:  # noqa: BLE001 - shown on the page; the phase is missing in the run's files
                self.error = f"{active.label} in {run.name}: {error}"

        threads = [threading.Thread(target=run_step, args=(run,), daemon=True) for run in self._runs.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return done


def _check_serving(run: DesignRun, target: str) -> None:
    states = {worker.name: worker.state for worker in run.processes.workers}
    if target not in {"all", "delivering", *states}:
        raise ActionRejected(f"there is no worker {target}; there are {', '.join(states)}")
    concerned = [states[target]] if target in states else list(states.values())
    if "serving" not in concerned:
        raise ActionRejected(f"{target} of {run.name} is {concerned[0] if target in states else 'not up'}")
