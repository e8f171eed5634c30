"""What all runs of one command share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.services import Services


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all runs of one command share.

    tempdir: the temporary directory that vanishes with everything in it.
    versions: of the servers that `services` hands out.
    stop: ends every run.
    """

    tempdir: Path
    services: Services
    versions: Mapping[str, str]
    stop: CancelToken
