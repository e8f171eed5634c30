"""The outside world slow, refusing, hanging, or losing its answers."""

from __future__ import annotations

from pathlib import Path

from duetime.faults.fault import Sleeper, wait_for
from duetime.runtime.gateway_faults import InjectedGatewayFault


class GatewayFault:
    """`trouble`, announced to every gateway of the run through `file`."""

    def __init__(self, gateway_fault: InjectedGatewayFault, file: Path, *, within_s: float) -> None:
        self._gateway_fault = gateway_fault
        self._file = file
        self._within_s = within_s
        self._before = 0

    def prepare(self, _stop: Sleeper) -> str:
        gateway_fault = self._gateway_fault
        whom = f" for keys that begin with {', '.join(gateway_fault.only)}" if gateway_fault.only else ""
        by = f" by {gateway_fault.seconds:g} s" if gateway_fault.seconds else ""
        return f"the gateway's trouble from now on: {gateway_fault.mode}{by}{whom}"

    def inject(self) -> None:
        self._before = InjectedGatewayFault.hit_count(self._file)
        self._gateway_fault.begin(self._file)

    def verify_injected(self, stop: Sleeper) -> str:
        wait_for(
            lambda: InjectedGatewayFault.hit_count(self._file) > self._before,
            stop,
            within_s=self._within_s,
            message=f"no delivery met with {self._gateway_fault.mode}",
        )
        return f"a delivery met with {self._gateway_fault.mode}"

    def heal(self) -> None:
        InjectedGatewayFault.end(self._file)

    def verify_healed(self, _stop: Sleeper) -> str:
        hit = InjectedGatewayFault.hit_count(self._file) - self._before
        return f"the gateway works again; the fault hit {hit} deliveries"
