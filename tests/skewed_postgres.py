"""A PostgreSQL whose clock can be set while it runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from duetime.faults.mechanisms import faketime
from duetime.faults.mechanisms.faketime import SkewedClock
from duetime.harness.processes.embedded_servers import (
    EmbeddedServer,
    connects,
    initialise_cluster,
    postgres_command,
    running,
)
from duetime.harness.processes.environment import composed


def clock_in(directory: Path) -> SkewedClock:
    """Return a clock that can be set; skips the test on a machine that cannot set one."""
    if reason := faketime.unavailable():
        pytest.skip(reason)
    return SkewedClock(directory / "offset")


@contextmanager
def postgres_with(clock: SkewedClock, directory: Path, *, tempdir: Path) -> Iterator[str]:
    """Run a PostgreSQL with `clock` in `directory`; yield its URL."""
    initialise_cluster(directory, tempdir=tempdir)
    server = EmbeddedServer(
        "database",
        postgres_command(directory),
        directory,
        tempdir=tempdir,
        probe=lambda _pid: connects(directory),
        end_with=signal.SIGQUIT,
        environment={**composed(), **clock.environment()},
    )
    with running(server):
        yield f"postgresql://postgres@/postgres?host={directory}"
