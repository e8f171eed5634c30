"""The outside world slow, refusing, hanging, or losing its answers."""

from __future__ import annotations

from pathlib import Path

from duetime.faults.fault import Waiting, wait_for
from duetime.runtime.gateway import Trouble


class GatewayTrouble:
    """`trouble`, announced to every gateway of the run through `file`."""

    def __init__(self, trouble: Trouble, file: Path, *, within_s: float) -> None:
        self._trouble = trouble
        self._file = file
        self._within_s = within_s
        self._before = 0

    def aim(self, _stop: Waiting) -> str:
        trouble = self._trouble
        whom = f" for keys that begin with {', '.join(trouble.only)}" if trouble.only else ""
        by = f" by {trouble.seconds:g} s" if trouble.seconds else ""
        return f"the gateway's trouble from now on: {trouble.mode}{by}{whom}"

    def inject(self) -> None:
        self._before = Trouble.bites(self._file)
        self._trouble.begin(self._file)

    def observe(self, stop: Waiting) -> str:
        wait_for(
            lambda: Trouble.bites(self._file) > self._before,
            stop,
            within_s=self._within_s,
            else_say=f"no delivery met with {self._trouble.mode}",
        )
        return f"a delivery met with {self._trouble.mode}"

    def heal(self) -> None:
        Trouble.end(self._file)

    def healed(self, _stop: Waiting) -> str:
        return f"the gateway is as it was; {Trouble.bites(self._file) - self._before} deliveries had met with trouble"
