"""Carries out the faults of a plan at their times and records the evidence for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from duetime.clock import Instant
from duetime.errors import Interrupted
from duetime.faults.fault import Fault, FaultNotVerified, HitsDelivery, LosesCommits
from duetime.harness.plan.plan import PlannedFault
from duetime.harness.processes.cancellation import CancelToken
from duetime.runtime.jsonl import JsonLinesWriter

Phase = Literal["inject", "observed", "heal", "healed"]


class Nemesis:
    """Injects and heals the faults of one run.

    make: turns a planned fault into one that can be injected.
    settled: waits until crashed workers serve again and returns the evidence; raises `FaultNotVerified` on a timeout.
    faults: the file for the records.
    """

    def __init__(
        self,
        make: Callable[[PlannedFault], Fault],
        settled: Callable[[], str],
        faults: Path,
        stop: CancelToken,
    ) -> None:
        self._make = make
        self._settled = settled
        self._journal = JsonLinesWriter(faults)
        self._stop = stop
        self.last_healed_ns = 0
        self.unverified: list[str] = []
        """Faults whose injection or healing was not verified, with the reason. The checker finds the phase missing."""

    def carry_out(self, faults: Sequence[PlannedFault], started: Instant) -> None:
        """Inject, verify, heal and verify each of `faults` at its times. A fault that was not verified is healed too.

        Raises:
            Interrupted: the run was stopped.
        """
        made = {planned.fault: self._make(planned) for planned in faults}
        injected: set[str] = set()
        try:
            for at_s, planned in _steps(faults):
                self._stop.sleep_until(started.mono_ns + int(at_s * 1e9))
                if planned.fault not in injected:
                    injected.add(planned.fault)
                    self.inject_fault(planned, made[planned.fault])
                else:
                    self.heal_fault(planned, made[planned.fault])
                    injected.remove(planned.fault)
        except Interrupted:
            # Every process is about to be killed; healing would start some of them again.
            raise
        except BaseException:
            for name in injected:
                with suppress(Exception):
                    made[name].heal()
            raise

    def inject_fault(self, planned: PlannedFault, fault: Fault) -> bool:
        """Inject `fault` and wait for the evidence. Returns True if it was injected, even if not verified."""
        injected = False
        try:
            self._record(planned, "inject", fault.prepare(self._stop))
            injected = True
            fault.inject()
            evidence = fault.verify_injected(self._stop)
            self._record(planned, "observed", evidence, _measured(fault))
        except FaultNotVerified as error:
            self._note_unverified(planned, error)
        return injected

    def heal_fault(self, planned: PlannedFault, fault: Fault) -> bool:
        """Heal `fault` and wait for the evidence. Returns True if the healing was verified."""
        self._record(planned, "heal", "healing begins")
        fault.heal()
        try:
            self._record(planned, "healed", fault.verify_healed(self._stop) + self._settled())
        except FaultNotVerified as error:
            self._note_unverified(planned, error)
            return False
        finally:
            self.last_healed_ns = time.monotonic_ns()
        return True

    def close(self) -> None:
        self._journal.close()

    def _note_unverified(self, planned: PlannedFault, error: FaultNotVerified) -> None:
        self.unverified.append(f"{planned.fault} ({planned.kind} {planned.target}): {error}")

    def _record(
        self, planned: PlannedFault, phase: Phase, evidence: str, measured: Mapping[str, object] | None = None
    ) -> None:
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
                **(measured or {}),
            }
        )


def _measured(fault: Fault) -> Mapping[str, object]:
    """Return what the fault measured of its effect, by the names of the records."""
    if isinstance(fault, HitsDelivery) and fault.delivery:
        return {"delivery": fault.delivery}
    if isinstance(fault, LosesCommits) and fault.lost:
        return {"lost": {"bytes": fault.lost.size, "since_ns": fault.lost.since_ns}}
    return {}


def _steps(faults: Sequence[PlannedFault]) -> list[tuple[float, PlannedFault]]:
    """Each fault twice, at its injection and at its healing, in the order of the times."""
    steps = [(at_s, planned) for planned in faults for at_s in (planned.inject_s, planned.heal_s)]
    # Stable: at equal times a fault's injection stays before its healing, and faults keep the order of the plan.
    return sorted(steps, key=lambda step: step[0])
