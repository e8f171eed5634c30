"""What this machine can do, found out by doing it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from duetime.errors import DuetimeError
from duetime.harness.borrowed import without_password
from duetime.harness.keeper import belonging, members, workplace
from duetime.harness.services import Services


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that runs need: whether it works here, and what was seen."""

    what: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Start both servers, and inject each kind of fault into a process of our own."""
    with workplace() as place:
        return [Finding("python", sys.version_info >= (3, 11), sys.version.split()[0]), *_servers(place), _kill(place)]


def _servers(place: Path) -> list[Finding]:
    services = Services(place)
    try:
        versions = services.prepare(side_by_side=1)
        with services.for_run("doctor", 0) as endpoints:
            return [
                Finding(
                    "PostgreSQL",
                    True,
                    f"{versions['postgresql']} answers at {without_password(endpoints.database_url)}",
                ),
                Finding(
                    "Valkey or Redis", True, f"{versions['broker']} answers at {without_password(endpoints.broker_url)}"
                ),
            ]
    except (DuetimeError, OSError) as error:
        return [Finding("PostgreSQL and Valkey", False, str(error))]


def _kill(place: Path) -> Finding:
    """SIGKILL to a process group with a child in it, seen to be gone by the eyes that a run uses."""
    environment = {**os.environ, **belonging(place)}
    victim = subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"], env=environment, start_new_session=True)
    seen = members(place)
    os.killpg(victim.pid, signal.SIGKILL)
    status = victim.wait()
    psutil.wait_procs(seen, timeout=5)
    ok = bool(seen) and status == -9 and not members(place)
    return Finding("fault kill", ok, f"{len(seen)} processes seen, then SIGKILL, main process ended with {status}")
