"""Makes the plan's faults happen at their time, and writes down what was seen of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from duetime.clock import Instant
from duetime.errors import Interrupted
from duetime.faults.fault import Fault, NotSeen
from duetime.harness.plan import PlannedFault
from duetime.harness.stopping import StopSignal
from duetime.journal import Journal

Phase = Literal["inject", "observed", "heal", "healed"]


class Conductor:
    """Carries out the faults of one run, one after another; `make` turns a planned one into one that can be done."""

    def __init__(
        self,
        make: Callable[[PlannedFault], Fault],
        settled: Callable[[], str],
        faults: Path,
        stop: StopSignal,
    ) -> None:
        """settled: waits until whoever ended by itself under a fault serves again; raises NotSeen if not in time."""
        self._make = make
        self._settled = settled
        self._journal = Journal(faults)
        self._stop = stop
        self.last_healed_ns = 0
        self.unseen: list[str] = []
        """What should have been observed and was not: the checker will find the phase missing."""

    def carry_out(self, faults: Sequence[PlannedFault], started: Instant) -> None:
        """Inject, observe, heal and verify each of `faults`; heal also those that did not bite.

        Raises:
            Interrupted: the run was stopped.
        """
        for planned in faults:
            fault = self._make(planned)
            self._stop.sleep_until(started.mono_ns + int(planned.inject_s * 1e9))
            try:
                self._bite(planned, fault)
                self._stop.sleep_until(started.mono_ns + int(planned.heal_s * 1e9))
            except Interrupted:
                # Everything is about to be swept away; nothing must be started again.
                raise
            except BaseException:
                fault.heal()
                raise
            self._record(planned, "heal", "mending begins")
            fault.heal()
            self._mend(planned, fault)

    def close(self) -> None:
        self._journal.close()

    def _bite(self, planned: PlannedFault, fault: Fault) -> None:
        try:
            self._record(planned, "inject", fault.aim(self._stop))
            fault.inject()
            self._record(planned, "observed", fault.observe(self._stop))
        except NotSeen as why:
            self.unseen.append(f"{planned.fault} ({planned.kind} {planned.target}): {why}")

    def _mend(self, planned: PlannedFault, fault: Fault) -> None:
        try:
            self._record(planned, "healed", fault.healed(self._stop) + self._settled())
        except NotSeen as why:
            self.unseen.append(f"{planned.fault} ({planned.kind} {planned.target}): {why}")
        self.last_healed_ns = time.monotonic_ns()

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
