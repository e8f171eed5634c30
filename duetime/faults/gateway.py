"""A gateway that is slow, refuses, hangs, or loses its answers."""

from __future__ import annotations

from pathlib import Path

from duetime.faults.fault import Sleeper, wait_for
from duetime.runtime.gateway_faults import InjectedGatewayFault


class GatewayFault:
    """Injects a fault into every gateway of the run, through `file`."""

    def __init__(self, fault: InjectedGatewayFault, file: Path, *, within_s: float) -> None:
        self._fault = fault
        self._file = file
        self._within_s = within_s
        self._hits_before = 0

    def prepare(self, _stop: Sleeper) -> str:
        fault = self._fault
        keys = f", for keys that begin with {', '.join(fault.only)}" if fault.only else ""
        by = f" by {fault.seconds:g} s" if fault.seconds else ""
        return f"gateway fault: {fault.mode}{by}{keys}"

    def inject(self) -> None:
        self._hits_before = InjectedGatewayFault.hit_count(self._file)
        self._fault.begin(self._file)

    def verify_injected(self, stop: Sleeper) -> str:
        message = f"{self._fault.mode} affected no delivery"
        wait_for(lambda: self._hits() > 0, stop, within_s=self._within_s, message=message)
        return f"{self._fault.mode} affected a delivery"

    def heal(self) -> None:
        InjectedGatewayFault.end(self._file)

    def verify_healed(self, _stop: Sleeper) -> str:
        return f"the gateway works again; the fault affected {self._hits()} deliveries"

    def _hits(self) -> int:
        return InjectedGatewayFault.hit_count(self._file) - self._hits_before
