"""Makes the plan's faults happen at their time, and writes down what was seen of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from duetime.clock import Instant
from duetime.errors import Interrupted
from duetime.faults.fault import Fault, FaultNotVerified
from duetime.harness.plan.plan import PlannedFault
from duetime.harness.processes.cancellation import CancelToken
from duetime.runtime.jsonl import JsonLinesWriter

Phase = Literal["inject", "observed", "heal", "healed"]


class Nemesis:
    """Carries out the faults of one run; `make` turns a planned one into one that can be done."""

    def __init__(
        self,
        make: Callable[[PlannedFault], Fault],
        settled: Callable[[], str],
        faults: Path,
        stop: CancelToken,
    ) -> None:
        """settled: waits until crashed workers serve again; raises FaultNotVerified if not in time."""
        self.make = make
        self._settled = settled
        self._journal = JsonLinesWriter(faults)
        self._stop = stop
        self.last_healed_ns = 0
        self.unverified: list[str] = []
        """What should have been observed and was not: the checker will find the phase missing."""

    def carry_out(self, faults: Sequence[PlannedFault], started: Instant) -> None:
        """Inject, observe, heal and verify each of `faults`, in the order of their times; heal also what did not bite.

        Raises:
            Interrupted: the run was stopped.
        """
        made = {planned.fault: self.make(planned) for planned in faults}
        begun: set[str] = set()
        try:
            for at_s, planned in _steps(faults):
                self._stop.sleep_until(started.mono_ns + int(at_s * 1e9))
                if planned.fault not in begun:
                    begun.add(planned.fault)
                    self.inject_fault(planned, made[planned.fault])
                else:
                    self.heal_fault(planned, made[planned.fault])
                    begun.remove(planned.fault)
        except Interrupted:
            # Everything is about to be swept away; nothing must be started again.
            raise
        except BaseException:
            for name in begun:
                with suppress(Exception):
                    made[name].heal()
            raise

    def inject_fault(self, planned: PlannedFault, fault: Fault) -> bool:
        """Inject `fault` and wait for the evidence that it bites; whether it was injected at all.

        What is not seen is noted in `unseen`.
        """
        injected = False
        try:
            self._record(planned, "inject", fault.prepare(self._stop))
            injected = True
            fault.inject()
            self._record(planned, "observed", fault.verify_injected(self._stop))
        except FaultNotVerified as why:
            self.unverified.append(f"{planned.fault} ({planned.kind} {planned.target}): {why}")
        return injected

    def heal_fault(self, planned: PlannedFault, fault: Fault) -> bool:
        """Heal `fault` and wait for the evidence that it is over; whether it came."""
        self._record(planned, "heal", "mending begins")
        fault.heal()
        try:
            self._record(planned, "healed", fault.verify_healed(self._stop) + self._settled())
        except FaultNotVerified as why:
            self.unverified.append(f"{planned.fault} ({planned.kind} {planned.target}): {why}")
            return False
        finally:
            self.last_healed_ns = time.monotonic_ns()
        return True

    def close(self) -> None:
        self._journal.close()

    def _record(self, planned: PlannedFault, phase: Phase, evidence: str) -> None:
        scope = {"only": list(planned.only)} if planned.only else {}
        self._journal.append(
            {
                "fault": planned.fault,
                "kind": planned.kind,
                "target": planned.target,
                **scope,
                "phase": phase,
                "at_ns": time.monotonic_ns(),
                "evidence": evidence,
            }
        )


def _steps(faults: Sequence[PlannedFault]) -> list[tuple[float, PlannedFault]]:
    """Each fault twice, for its beginning and for its end, in the order of their times."""
    steps = [(at_s, planned) for planned in faults for at_s in (planned.inject_s, planned.heal_s)]
    # Stable: of one fault the beginning stays before the end, and of two the one that was planned first.
    return sorted(steps, key=lambda step: step[0])
