"""What a PostgreSQL has acknowledged, and where it is: on disk, and on a standby that becomes the primary."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from duetime.errors import HarnessError
from duetime.harness.plan.plan import Replication
from duetime.harness.processes.cleanup import owner_env
from duetime.harness.processes.embedded_servers import (
    NOBODY,
    POSTGRES_BIN,
    EmbeddedServer,
    copy_files,
    free_port,
    postgres_server,
    running,
    unprivileged,
)
from duetime.harness.processes.environment import composed
from duetime.urls import libpq_url

STREAMS_WITHIN_S = 20.0


class ReplicatedDatabase:
    """A primary that every client uses, and a standby that becomes the primary when the first one has died.

    url: names both, so that libpq connects to the one that can be written.
    """

    def __init__(self, primary: EmbeddedServer, standby: EmbeddedServer, ports: tuple[int, int]) -> None:
        self.primary, self.standby = primary, standby
        self._ports = ports
        hosts = "&".join(f"host=127.0.0.1:{port}" for port in ports)
        self.url = f"postgresql+psycopg://postgres@/postgres?{hosts}&target_session_attrs=read-write"
        self._receiver: psutil.Process | None = None

    def acknowledged_lsn(self) -> int:
        """Return up to where the primary has written its log to disk, as the number of a byte."""
        return int(self._value(self._ports[0], "SELECT pg_current_wal_flush_lsn() - '0/0'"))

    def replicated_lsn(self) -> int:
        """Return up to where the standby has the log."""
        return int(self._value(self._ports[1], "SELECT pg_last_wal_receive_lsn() - '0/0'"))

    def confirmed_lsn(self) -> int:
        """Return up to where the primary knows that the standby has written the log: what it waits for, if at all."""
        return int(self._value(self._ports[0], "SELECT max(flush_lsn) - '0/0' FROM pg_stat_replication"))

    def suspend_replication(self) -> None:
        """Suspend the process of the standby that receives the log. The primary goes on."""
        pid = int(self._value(self._ports[1], "SELECT pid FROM pg_stat_wal_receiver"))
        self._receiver = psutil.Process(pid)
        self._receiver.suspend()

    def kill_primary(self) -> None:
        self.primary.kill()

    def primary_gone(self) -> bool:
        return self.primary.gone()

    def promote(self) -> None:
        """Let the standby become the primary. What it had not received is lost, also what lies in a socket's buffer."""
        if self._receiver:
            with suppress(psutil.NoSuchProcess):
                self._receiver.kill()
            self._receiver = None
        give_up_at = time.monotonic() + STREAMS_WITHIN_S
        # The standby takes the end of its receiver for a crash and starts again; a promotion asked for meanwhile is
        # forgotten.
        while not self.serves_writes() and time.monotonic() < give_up_at:
            with suppress(psycopg.OperationalError):
                self._value(self._ports[1], "SELECT pg_promote(true, 5)")
            time.sleep(0.05)

    def serves_writes(self) -> bool:
        """Return True if the standby is the primary now."""
        return self._is_primary(self._ports[1])

    def start_old_primary(self) -> None:
        if self.primary.ended():
            self.primary.start()

    def old_primary_serves(self) -> bool:
        return self._is_primary(self._ports[0])

    def _is_primary(self, port: int) -> bool:
        try:
            return not self._value(port, "SELECT pg_is_in_recovery()")
        except psycopg.OperationalError:
            return False

    def _value(self, port: int, query: str) -> Any:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
            row = connection.execute(query).fetchone()
            return row[0] if row else None


@contextmanager
def replicated_postgres(
    directory: Path, *, template: Path, tempdir: Path, replication: Replication
) -> Iterator[ReplicatedDatabase]:
    """Run a PostgreSQL on a copy of `template` in `directory`, and a standby that streams its log.

    Raises:
        HarnessError: one of them did not start.
    """
    primary_port, standby_port = free_port(), free_port()
    copy_files(template, directory, tempdir=tempdir)
    primary = postgres_server("database", directory, primary_port, tempdir=tempdir)
    with running(primary):
        copy = directory.parent / f"{directory.name}-standby"
        source = f"postgresql://postgres@127.0.0.1:{primary_port}/postgres"
        copy_cluster(copy, source, "-R", tempdir=tempdir)
        standby = postgres_server("standby", copy, standby_port, tempdir=tempdir)
        with running(standby):
            pair = ReplicatedDatabase(primary, standby, (primary_port, standby_port))
            _wait_for_streaming(primary_port)
            if replication == "synchronous":
                # Only now: without a standby, the first commit would wait for ever.
                _configure(primary_port, "synchronous_standby_names = '*'")
            yield pair


class Backup:
    """A copy of the data of `server`, taken while it runs. url: of the database."""

    def __init__(self, server: EmbeddedServer, url: str, *, tempdir: Path) -> None:
        self._server, self._url, self._tempdir = server, libpq_url(url), tempdir
        self._copy = server.directory.with_name(f"{server.directory.name}-backup")

    def position(self) -> int:
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute("SELECT pg_current_wal_flush_lsn() - '0/0'").fetchone()
            return int(row[0]) if row else 0

    def take(self) -> None:
        copy_cluster(self._copy, self._url, tempdir=self._tempdir)

    def restore(self) -> None:
        shutil.rmtree(self._server.directory)
        self._copy.rename(self._server.directory)


def copy_cluster(target: Path, url: str, *options: str, tempdir: Path) -> None:
    """Copy the cluster that runs at `url` with pg_basebackup.

    Raises:
        HarnessError: it failed.
    """
    target.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(target, NOBODY, NOBODY)
    program = [*unprivileged(), str(POSTGRES_BIN / "pg_basebackup"), "-d", url, "-D", str(target)]
    done = subprocess.run(
        [*program, "-X", "stream", "-c", "fast", "--no-sync", *options],
        env={**composed(), **owner_env(tempdir)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise HarnessError(f"pg_basebackup failed: {done.stderr.strip() or done.stdout.strip()}")


def unflushed_bytes(url: str) -> int:
    """Return how many bytes of its log the database at `url` has not written to disk."""
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn()").fetchone()
        return int(row[0]) if row else 0


def _wait_for_streaming(primary_port: int) -> None:
    url = f"postgresql://postgres@127.0.0.1:{primary_port}/postgres"
    give_up_at = time.monotonic() + STREAMS_WITHIN_S
    with psycopg.connect(url, autocommit=True) as connection:
        while not connection.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'").fetchone():
            if time.monotonic() > give_up_at:
                raise HarnessError(f"the standby did not stream within {STREAMS_WITHIN_S:g} s")
            time.sleep(0.02)


def _configure(port: int, setting: str) -> None:
    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
