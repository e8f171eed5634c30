"""A pgbouncer between a run's processes and its database."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.rows import DictRow, dict_row
from sqlalchemy import URL, make_url

from duetime.harness.processes.embedded_servers import NOBODY, EmbeddedServer, free_port, running, unprivileged
from duetime.harness.processes.environment import composed
from duetime.urls import libpq_url

UNPACKED = Path(sys.prefix) / "pgbouncer"
"""Where `make pooler` unpacks Debian's package with the libraries that the machine lacks."""
MISSING = "pgbouncer is not installed; install it (in a checkout, `make pooler` unpacks Debian's into .venv)"
CONSOLE = "pgbouncer"
"""The database of pgbouncer's own commands."""


class Pooler(EmbeddedServer):
    """A pgbouncer in `directory` before the PostgreSQL at `url`.

    It listens as PostgreSQL does: on a Unix socket, or on a port of loopback. mode: its ``pool_mode``. settings: others
    that are not pgbouncer's defaults. through: the URL that leads through it.
    """

    def __init__(
        self, url: str, mode: str, directory: Path, *, tempdir: Path, settings: Mapping[str, object] | None = None
    ) -> None:
        target = make_url(url)
        port = free_port() if target.host else None
        through = target.set(port=port) if port else target.update_query_dict({"host": str(directory)})
        self.through = through.render_as_string(hide_password=False)
        configuration = directory / "pgbouncer.ini"
        super().__init__(
            "pooler",
            [*unprivileged(), str(program()), str(configuration)],
            directory,
            tempdir=tempdir,
            probe=lambda _pid: self._executes(),
            end_with=signal.SIGINT,
            environment={**composed(), "LD_LIBRARY_PATH": _libraries()},
        )
        directory.mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(directory, NOBODY, NOBODY)
        listens = {"listen_addr": "127.0.0.1", "unix_socket_dir": ""} if port else {"unix_socket_dir": directory}
        options = {
            # Any user may log in, also to the console.
            "auth_type": "any",
            "pool_mode": mode,
            "listen_port": port or 5432,
            **listens,
            # pgbouncer refuses it, and drivers of Rust and Java send it.
            "ignore_startup_parameters": "extra_float_digits",
            **(settings or {}),
        }
        lines = [f"{name} = {value}" for name, value in options.items()]
        configuration.write_text("\n".join(["[databases]", f"* = {_address(target)}", "[pgbouncer]", *lines, ""]))

    def connections(self, side: Literal["CLIENTS", "SERVERS"]) -> Sequence[DictRow]:
        """Return its open connections from clients or to PostgreSQL, as SHOW describes them.

        Raises:
            psycopg.OperationalError: it does not answer.
        """
        console = libpq_url(make_url(self.through).set(database=CONSOLE).render_as_string(hide_password=False))
        with psycopg.connect(console, connect_timeout=2, autocommit=True, row_factory=dict_row) as connection:
            rows = connection.execute(f"SHOW {side}").fetchall()
        return [row for row in rows if row["database"] != CONSOLE]

    def open_clients(self) -> int:
        return len(self.connections("CLIENTS"))

    def _executes(self) -> bool:
        """Return True if PostgreSQL executes a query that comes through it."""
        try:
            with psycopg.connect(libpq_url(self.through), connect_timeout=2, autocommit=True) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.Error:
            return False


@contextmanager
def pooler(
    url: str, mode: str, directory: Path, *, tempdir: Path, settings: Mapping[str, object] | None = None
) -> Iterator[Pooler]:
    """Run a pooler; see `Pooler`.

    Raises:
        HarnessError: it did not start.
    """
    server = Pooler(url, mode, directory, tempdir=tempdir, settings=settings)
    with running(server):
        yield server


def program() -> Path | None:
    """Return the path of pgbouncer; None if there is none."""
    found = shutil.which("pgbouncer", path=f"{UNPACKED}/usr/sbin:{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else None


@cache
def version() -> str | None:
    """Return the version of pgbouncer; None if there is none, or if it cannot be executed."""
    if not (path := program()):
        return None
    environment = {**composed(), "LD_LIBRARY_PATH": _libraries()}
    done = subprocess.run([path, "--version"], env=environment, capture_output=True, text=True, check=False)
    # "PgBouncer 1.18.0", then a line for each library.
    return done.stdout.split()[1] if done.returncode == 0 else None


def unavailable() -> str | None:
    """Return why this machine cannot put a pooler before its database, and what to do; None if it can."""
    return None if version() else MISSING


def _libraries() -> str:
    return ":".join(str(path) for path in UNPACKED.rglob("*-linux-gnu") if path.parent.name == "lib")


def _address(target: URL) -> str:
    """Return how pgbouncer reaches `target`, as which user."""
    place = f"host={target.host} port={target.port or 5432}" if target.host else f"host={target.query['host']}"
    return f"{place} user={target.username}"
