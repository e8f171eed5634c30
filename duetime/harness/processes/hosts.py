"""PostgreSQL and Valkey on hosts of their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from duetime.faults.mechanisms.host_network import Host
from duetime.harness.processes.embedded_servers import (
    PERSISTENCE_OPTIONS,
    EmbeddedServer,
    connects,
    copy_files,
    postgres_command,
    running,
    valkey_server,
)

DATABASE, BROKER = "database", "broker"
"""The names of their hosts; those of workers have the workers' names."""
BROKER_PORT = 6379


@contextmanager
def hosted_postgres(
    directory: Path, host: Host, *, template: Path, tempdir: Path
) -> Iterator[tuple[str, EmbeddedServer]]:
    """Run a PostgreSQL on a copy of the cluster `template` in `directory`; yield its URL on `host`, and the server."""
    copy_files(template, directory, tempdir=tempdir)
    with (directory / "pg_hba.conf").open("a") as hba:
        hba.write("host all all samenet trust\n")
    server = EmbeddedServer(
        "database",
        [*host.enter, *postgres_command(directory), "-c", f"listen_addresses={host.address}"],
        directory,
        tempdir=tempdir,
        probe=lambda _pid: connects(directory),
        end_with=signal.SIGQUIT,
    )
    with running(server):
        yield f"postgresql+psycopg://postgres@{host.address}/postgres", server


@contextmanager
def hosted_valkey(directory: Path, host: Host, *, tempdir: Path) -> Iterator[tuple[str, EmbeddedServer]]:
    """Run a Valkey with its data in `directory`; yield its URL on `host`, and the server."""
    directory.mkdir(parents=True)
    url = f"redis://{host.address}:{BROKER_PORT}/0"
    options = ["--protected-mode", "no", "--port", str(BROKER_PORT), "--dir", str(directory)]
    server = valkey_server(
        "broker", url, [*options, *PERSISTENCE_OPTIONS["default"]], directory, tempdir=tempdir, enter=host.enter
    )
    with running(server):
        yield url, server
