"""Makes the plan's faults happen at their time, and writes down what was seen of each."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from duetime.clock import Instant
from duetime.errors import HarnessError
from duetime.faults import kill
from duetime.harness.plan import PlannedFault
from duetime.harness.servers import Server
from duetime.harness.stopping import StopSignal
from duetime.journal import Journal

Phase = Literal["inject", "observed", "heal", "healed"]

MIDDLE = 2
"""A server is in the middle of its deliveries when this many of them are recorded since the fault was due."""
MIDDLE_WITHIN_S = 2.5
"""Some delivery must come by then: longer than a poll interval."""


class Conductor:
    """Carries out the faults of one run, one after another."""

    def __init__(
        self, servers: Sequence[Server], faults: Path, deliveries: Path, stop: StopSignal, *, delivery_time_s: float
    ) -> None:
        self._servers = {server.name: server for server in servers}
        self._journal = Journal(faults)
        self._deliveries = deliveries
        # A delivery is recorded half-way through it.
        self._rest_of_delivery_ns = int(delivery_time_s / 2 * 1e9)
        self._stop = stop
        self.last_healed_ns = 0

    def carry_out(self, faults: Sequence[PlannedFault], started: Instant) -> None:
        """Inject, observe, heal and verify each of `faults`.

        Raises:
            HarnessError: a fault did not bite, or did not heal.
            Interrupted: the run was stopped.
        """
        for fault in faults:
            self._stop.sleep_until(started.mono_ns + int(fault.inject_s * 1e9))
            targets, how = self._targets(fault)
            target = ",".join(server.name for server in targets)
            self._record(fault, target, "inject", f"SIGKILL to the process group{how}")
            self._record(fault, target, "observed", kill.inject(targets))
            self._stop.sleep_until(started.mono_ns + int(fault.heal_s * 1e9))
            self._record(fault, target, "heal", "started again")
            evidence = kill.heal(targets, self._stop)
            self._record(fault, target, "healed", evidence)
            self.last_healed_ns = time.monotonic_ns()

    def close(self) -> None:
        self._journal.close()

    def _targets(self, fault: PlannedFault) -> tuple[list[Server], str]:
        """The servers to hurt, and the circumstances if they matter."""
        if fault.target == "all":
            return list(self._servers.values()), ""
        if fault.target == "delivering":
            server, recorded_ns = self._first_in_the_middle()
            since_ms = (time.monotonic_ns() - recorded_ns) / 1e6
            return [server], f", {since_ms:.1f} ms after it recorded a delivery and before that delivery was over"
        return [self._servers[fault.target]], ""

    def _first_in_the_middle(self) -> tuple[Server, int]:
        """Wait until one server has recorded `MIDDLE` deliveries from now on and is still busy with the last of them.

        Raises:
            HarnessError: none was seen in time.
        """
        seen: dict[str, int] = {}
        give_up_at = time.monotonic() + MIDDLE_WITHIN_S
        with self._deliveries.open("rb") as lines:
            lines.seek(0, 2)
            partial = b""
            while time.monotonic() < give_up_at:
                partial += lines.read()
                *whole, partial = partial.split(b"\n")
                for line in whole:
                    record = json.loads(line)
                    worker = record["worker"]
                    seen[worker] = seen.get(worker, 0) + 1
                    busy = time.monotonic_ns() - record["at_ns"] < self._rest_of_delivery_ns
                    if worker in self._servers and seen[worker] >= MIDDLE and busy:
                        return self._servers[worker], record["at_ns"]
                self._stop.sleep(0.002)
        raise HarnessError(
            f"no server delivered {MIDDLE} notifications within {MIDDLE_WITHIN_S} s: none to kill in one"
        )

    def _record(self, fault: PlannedFault, target: str, phase: Phase, evidence: str) -> None:
        self._journal.append(
            {
                "fault": fault.fault,
                "kind": fault.kind,
                "target": target,
                "phase": phase,
                "at_ns": time.monotonic_ns(),
                "evidence": evidence,
            }
        )
