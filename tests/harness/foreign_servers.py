"""Servers that belong to somebody else, and a shell and a working directory in which everything leads to them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from duetime.harness.processes.embedded_servers import (
    EmbeddedServer,
    free_port,
    initialise_cluster,
    postgres_command,
    running,
    valkey,
)

TRAP = "import pathlib; pathlib.Path({imported!r}).open('a').write(__file__ + chr(10))\n"
CELERY = "broker_url = broker_read_url = broker_write_url = result_backend = {url!r}\n"
FLOWER = "broker_api = {url!r}\n"


@dataclass(frozen=True, slots=True)
class ForeignServers:
    """A PostgreSQL and a Valkey that no run may reach, and a directory of modules that no run may import.

    shell: variables that lead to both servers. directory: of the modules; a command is started in it.
    """

    shell: dict[str, str]
    directory: Path
    _log: Path
    _imported: Path
    _broker: redis.Redis
    _connections_before: int

    def seen(self) -> list[str]:
        """Return a line for everything that reached one of the servers, and for every module that was imported."""
        database = [line for line in self._log.read_text().splitlines() if "connection received" in line]
        connections = int(self._broker.info("stats")["total_connections_received"]) - self._connections_before
        broker = [f"{connections} connections to the broker"] if connections else []
        keys = [f"key {key!r} in the broker" for key in sorted(map(str, self._broker.scan_iter()))]
        imported = self._imported.read_text().splitlines() if self._imported.exists() else []
        return [*database, *broker, *keys, *imported]


@contextmanager
def foreign_servers(directory: Path, *, tempdir: Path) -> Iterator[ForeignServers]:
    """Start both servers, and write the modules to `directory`. tempdir: whose end is also the servers'."""
    home = tempdir / "foreign"
    home.mkdir()
    port = free_port()
    initialise_cluster(home / "pg", tempdir=tempdir)
    listening = ("-h", "127.0.0.1", "-p", str(port), "-c", "log_connections=on")
    log = home / "pg.log"
    database = EmbeddedServer(
        "database",
        [*postgres_command(home / "pg"), *listening],
        home / "pg",
        tempdir=tempdir,
        # Its log, because a connection would be counted.
        probe=lambda _pid: "ready to accept connections" in log.read_text(),
        end_with=signal.SIGQUIT,
    )
    with running(database), valkey(home / "valkey", tempdir=tempdir) as (broker_url, _):
        imported = directory / "imported"
        _write_modules(directory, imported, broker_url)
        with redis.Redis.from_url(broker_url) as broker:
            before = int(broker.info("stats")["total_connections_received"])
            shell = {**_celerys(broker_url), **_libpqs(port, directory), **_others(directory)}
            yield ForeignServers(shell, directory, log, imported, broker, before)


def _write_modules(directory: Path, imported: Path, broker_url: str) -> None:
    trap = TRAP.format(imported=str(imported))
    (directory / "celeryconfig.py").write_text(trap + CELERY.format(url=broker_url))
    (directory / "flowerconfig.py").write_text(trap + FLOWER.format(url=broker_url))
    # They would shadow the packages that the clients import.
    for name in ("redis", "psycopg", "kombu"):
        (directory / f"{name}.py").write_text(trap)


def _celerys(url: str) -> dict[str, str]:
    names = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_BROKER")
    flowers = {"FLOWER_BROKER_API": url, "FLOWER_BASIC_AUTH": "user:password", "FLOWER_URL_PREFIX": "elsewhere"}
    return {
        **dict.fromkeys((*names, "BROKER_URL", "REDIS_URL", "CELERY_RESULT_BACKEND", "RESULT_BACKEND"), url),
        "CELERY_CONFIG_MODULE": "celeryconfig",
        "CELERY_LOADER": "default",
        "CELERY_CUSTOM_WORKER_POOL": "no.such:Pool",
        "CELERY_WORKER_CONCURRENCY": "1",
        "C_FORCE_ROOT": "1",
        **flowers,
    }


def _libpqs(port: int, directory: Path) -> dict[str, str]:
    services = directory / "services"
    services.write_text(f"[foreign]\nhost=127.0.0.1\nport={port}\nuser=postgres\ndbname=postgres\n")
    return {
        "PGHOST": "127.0.0.1",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": "postgres",
        "PGDATABASE": "postgres",
        "PGPASSWORD": "foreign",
        "PGSERVICE": "foreign",
        "PGSERVICEFILE": str(services),
        "PGOPTIONS": "-c default_transaction_isolation=serializable -c statement_timeout=1",
        "PGCLIENTENCODING": "SQL_ASCII",
        "PGTZ": "Asia/Kathmandu",
        "PGDATESTYLE": "SQL, DMY",
        "PGSSLMODE": "verify-full",
    }


def _others(directory: Path) -> dict[str, str]:
    return {
        "PYTHONOPTIMIZE": "2",
        "PYTHONHASHSEED": "1",
        "PYTHONSTARTUP": str(directory / "celeryconfig.py"),
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "tr_TR.UTF-8",
        "PWD": str(directory),
        **dict.fromkeys(("http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
    }
