"""A pgbouncer in front of the tests' PostgreSQL; tests are skipped on a machine without the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from duetime.harness.processes.pooler import Pooler, pooler, unavailable

PoolMode = Literal["session", "transaction", "statement"]
POOL_SIZE = 5
"""How many sessions the pooler opens in each database."""
MIXING = {"default_pool_size": POOL_SIZE, "server_round_robin": 1, "server_login_retry": 1}
"""It lends its sessions in turn, so that each transaction of a client runs in another one."""


@contextmanager
def pgbouncer(url: str, mode: PoolMode, directory: Path, *, tempdir: Path) -> Iterator[Pooler]:
    """Run a pgbouncer in `directory` with `mode` before the PostgreSQL at `url`."""
    if reason := unavailable():
        pytest.skip(reason)
    with pooler(url, mode, directory, tempdir=tempdir, settings=MIXING) as running:
        yield running
