"""The part of a run's surroundings that all runs of one command share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from duetime.harness.processes.cancellation import CancelToken
from duetime.harness.processes.fork_server import ForkServer
from duetime.harness.processes.services import Services


@dataclass(frozen=True, slots=True)
class RunContext:
    """Shared by all runs of one command.

    tempdir: the temporary directory that is removed at the end.
    versions: of the database server and the broker.
    stop: ends every run.
    fork_server: starts clients; None if each is to import what it needs by itself.
    """

    tempdir: Path
    services: Services
    versions: Mapping[str, str]
    stop: CancelToken
    fork_server: ForkServer | None = None
