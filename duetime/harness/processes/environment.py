"""The environment of a run's processes: composed here, not inherited from the caller.

libpq, Celery, Flower and Python read dozens of variables. One of them in the caller's shell (CELERY_BROKER_URL,
PGHOSTADDR, …) would take a run to servers that are not its own. docs/operating.md has the whole list.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from duetime.errors import BadUsage

PASS = "DUETIME_PASS_ENVIRONMENT"  # noqa: S105 - the name of a variable, not a password
"""The variable with the names of further variables, separated by commas, that a design's processes get."""
MACHINE = (
    # XDG_CACHE_HOME: where contenders are installed.
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CACHE_HOME"),
    # Which Python, with which packages: these say where files are, not how a program behaves.
    *("VIRTUAL_ENV", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
    # The certificate authorities that this machine trusts, for a server of the user's own.
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"),
)
"""Variables that describe this machine; every process gets them."""
OBEYED = (
    *("DUETIME_BATCH_MOST", "DUETIME_CHECK_EVERY_S", "DUETIME_LOOK_AHEAD_S", "DUETIME_MAX_ATTEMPTS"),
    "DUETIME_VANISHED_AFTER_S",
    "DUETIME_THREADS",
)
"""Settings of a design that a run obeys. It sets the other settings itself."""
FIXED = {"TZ": "UTC", "LC_ALL": "C.UTF-8"}
"""The same on every machine, so that a run can be repeated on another one."""
TERMINAL = ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TZ")
"""Variables by which the command itself prints."""
ELSEWHERE = ("PG", "CELERY_", "BROKER_URL")
"""Beginnings of the names of variables that lead libpq or Celery to another server."""


def composed(caller: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a process that runs no code of a design: a server, a proxy, Flower.

    caller: the environment to choose from; by default that of this process.
    """
    return {**_chosen(MACHINE, os.environ if caller is None else caller), **FIXED}


def composed_for_design(caller: Mapping[str, str] | None = None, *, search_path: str = "") -> dict[str, str]:
    """Return the environment of a worker or a client, which imports the code of a design.

    search_path: a folder whose modules these processes import as well.

    Raises:
        BadUsage: DUETIME_PASS_ENVIRONMENT has a name that is not set or may not be passed on.
    """
    caller = os.environ if caller is None else caller
    environment = {**composed(caller), **_chosen(OBEYED, caller), **_chosen(passed(caller), caller)}
    found = caller.get("PYTHONPATH")
    # Absolute, because these processes have other working directories. An empty entry means the current one.
    entries = [str(Path(entry).absolute()) for entry in found.split(os.pathsep)] if found else []
    if search_path and search_path not in entries:
        entries.append(search_path)
    return {**environment, "PYTHONPATH": os.pathsep.join(entries)} if entries else environment


def passed(caller: Mapping[str, str]) -> list[str]:
    """Return the names in DUETIME_PASS_ENVIRONMENT.

    Raises:
        BadUsage: one of them is not set, or may not be passed on.
    """
    names = [name.strip() for name in caller.get(PASS, "").split(",") if name.strip()]
    for name in names:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise BadUsage(f"{PASS}: {name!r} is not the name of a variable; write names separated by commas")
        if name.startswith((*ELSEWHERE, "DUETIME_")):
            raise BadUsage(
                f"{PASS}: a run cannot pass on {name}, because its processes use the run's own servers and settings; "
                "remove it, and name your own servers in DUETIME_DATABASE_URL and DUETIME_BROKER_URL"
            )
        if name not in caller:
            raise BadUsage(f"{PASS}: {name} is not set; export it, or remove it from {PASS}")
    return names


@contextmanager
def own_environment() -> Iterator[dict[str, str]]:
    """Reduce the environment of this process to what a run uses, and restore it at the end of the block.

    The harness connects to servers too, and loads designs. Yields the caller's environment.

    Raises:
        BadUsage: as ``composed_for_design``.
    """
    caller = dict(os.environ)
    kept = {
        *(*MACHINE, *TERMINAL, *passed(caller), "PYTHONPATH"),
        *(name for name in caller if name.startswith("DUETIME_")),
    }
    with _hidden(name for name in caller if name not in kept):
        yield caller


@contextmanager
def other_servers_hidden() -> Iterator[None]:
    """Hide the variables that lead libpq or Celery to another server, for a block in somebody else's process."""
    with _hidden(name for name in os.environ if name.startswith(ELSEWHERE)):
        yield


@contextmanager
def _hidden(names: Iterable[str]) -> Iterator[None]:
    removed = {name: os.environ[name] for name in names}
    for name in removed:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(removed)


def _chosen(names: Iterable[str], caller: Mapping[str, str]) -> dict[str, str]:
    return {name: caller[name] for name in names if name in caller}
