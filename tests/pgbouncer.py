"""A pgbouncer in front of the tests' PostgreSQL; tests are skipped on a machine without the program."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from sqlalchemy import URL, make_url

from duetime.harness.processes.embedded_servers import NOBODY, EmbeddedServer, running, unprivileged

PoolMode = Literal["session", "transaction", "statement"]
POOL_SIZE = 5
"""How many sessions the pooler opens in each database."""
DOWNLOADED = Path(sys.prefix) / "pgbouncer"
"""Where `make pooler` unpacks Debian's package with the libraries that the machine lacks."""
CONFIGURATION = """
[databases]
* = host={socket} user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = {directory}
listen_port = 5432
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
server_round_robin = 1
server_login_retry = 1
"""


def program() -> Path:
    """Return pgbouncer's path, and skip the test if there is none."""
    found = shutil.which("pgbouncer", path=f"{DOWNLOADED}/usr/sbin:{os.environ['PATH']}:/usr/sbin")
    if not found:
        pytest.skip("pgbouncer is not installed; `make pooler` unpacks Debian's into .venv")
    return Path(found)


@contextmanager
def pgbouncer(url: str, mode: PoolMode, directory: Path, *, tempdir: Path) -> Iterator[str]:
    """Run a pgbouncer in `directory` with `mode` before the PostgreSQL at `url`; yield the URL through it.

    It lends its sessions in turn, so that each transaction of a client runs in another one.
    """
    command = str(program())
    target = make_url(url)
    directory.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    configuration = directory / "pgbouncer.ini"
    values = {"socket": target.query["host"], "directory": directory, "mode": mode}
    configuration.write_text(CONFIGURATION.format(size=POOL_SIZE, **values))
    through = target.update_query_dict({"host": str(directory)})
    libraries = ":".join(str(path) for path in DOWNLOADED.rglob("*-linux-gnu") if path.parent.name == "lib")
    server = EmbeddedServer(
        "pooler",
        [*unprivileged(), command, str(configuration)],
        directory,
        tempdir=tempdir,
        probe=lambda _pid: accepts(through),
        end_with=signal.SIGINT,
        environment={**os.environ, "LD_LIBRARY_PATH": libraries},
    )
    with running(server):
        yield through.render_as_string(hide_password=False)


def accepts(url: URL) -> bool:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        psycopg.connect(plain, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
